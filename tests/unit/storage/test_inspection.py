# SPDX-License-Identifier: Apache-2.0

from types import SimpleNamespace
from typing import Any

import ddt
from lxml import etree
from nova import conf as nova_conf
from nova import objects
from oslo_utils import units
from oslotest import base

from stable_rescue import conf, exception
from stable_rescue.domain.document import Domain
from stable_rescue.storage import inspection
from stable_rescue.storage.content import Content
from tests.unit.domain import samples

CONF = nova_conf.CONF
IMAGE = {
    "id": "8b9d",
    "status": "active",
    "container_format": "bare",
    "disk_format": "raw",
    "size": units.Mi,
    "min_ram": 0,
    "min_disk": 0,
    "properties": {},
}


def server(**values: Any) -> Any:
    """Return what is looked at of an instance."""
    flavor = SimpleNamespace(memory_mb=512)
    found = {"flavor": flavor, "image_ref": "own", "system_metadata": {}} | values
    return SimpleNamespace(**found)


def original(uefi: bool = False, secure: bool = False) -> Domain:
    domain = samples.domain("q35")
    if uefi:
        loader = etree.SubElement(
            domain.root.find("os"), "loader", readonly="yes", type="pflash"
        )
        loader.text = "/usr/share/OVMF/OVMF_CODE.fd"
        if secure:
            loader.set("secure", "yes")
    return domain


class InspectionTestBase(base.BaseTestCase):
    def setUp(self) -> None:
        super().setUp()
        objects.register_all()
        conf.register_opts(CONF)

    def check(
        self,
        device: str = "disk",
        domain: Domain | None = None,
        root_gb: int = 10,
        **image: Any,
    ) -> None:
        inspection.check(server(), IMAGE | image, device, domain or original(), root_gb)

    def refused(self, *args: Any, **kwargs: Any) -> str:
        return str(self.assertRaises(exception.Refused, self.check, *args, **kwargs))


@ddt.ddt
class CheckTest(InspectionTestBase):
    @ddt.data("raw", "qcow2", "iso", "ami")
    def test_formats_that_can_do(self, disk_format: str) -> None:
        self.assertIsNone(self.check(disk_format=disk_format))

    @ddt.data("vmdk", "vhd", "vdi", "ploop", "luks", None)
    def test_formats_that_cannot(self, disk_format: str | None) -> None:
        self.assertIn(
            f"disk format {disk_format}", self.refused(disk_format=disk_format)
        )

    @ddt.data("ovf", "ova", "docker", "compressed")
    def test_packed_images(self, container: str) -> None:
        self.assertIn(
            f"container format {container}", self.refused(container_format=container)
        )

    @ddt.data("queued", "saving", "deactivated", "killed")
    def test_not_active(self, status: str) -> None:
        self.assertIn(f"is {status}, not active", self.refused(status=status))

    @ddt.data("block_device_mapping", "img_block_device_mapping")
    def test_volume_snapshots(self, name: str) -> None:
        told = self.refused(properties={name: '[{"snapshot_id": "s"}]'})
        self.assertIn("no data of its own", told)

    def test_memory(self) -> None:
        self.assertIsNone(self.check(min_ram=512))
        self.assertIn("needs 513 MiB", self.refused(min_ram=513))

    def test_disk(self) -> None:
        self.assertIsNone(self.check(min_disk=10))
        self.assertIn("needs a root disk of 11 GiB", self.refused(min_disk=11))
        # A flavor without a limit takes every image, as when a server is made.
        self.assertIsNone(self.check(min_disk=1024, root_gb=0))

    def test_size(self) -> None:
        image = {"size": 100 * units.Gi + 1}
        self.assertIn("of 101 GiB; at most 100 GiB", self.refused(**image))
        CONF.set_override("max_medium_size", 0, "stable_rescue")
        self.addCleanup(CONF.clear_override, "max_medium_size", "stable_rescue")
        self.assertIsNone(self.check(**image))

    def test_a_qcow2_file_is_not_its_virtual_size(self) -> None:
        self.assertIsNone(self.check(size=101 * units.Gi, disk_format="qcow2"))

    def test_floppy(self) -> None:
        self.assertIsNone(self.check("floppy", size=2_949_120))
        self.assertIn(
            "a floppy holds at most 2949120", self.refused("floppy", size=2_949_121)
        )
        self.assertIn("is an ISO image", self.refused("floppy", disk_format="iso"))


@ddt.ddt
class MachineTest(InspectionTestBase):
    @ddt.data(
        {},
        {"hw_machine_type": "q35"},
        {"hw_machine_type": "pc-q35-7.2"},
        {"hw_machine_type": "microvm"},
        {"hw_architecture": "x86_64"},
        {"hw_architecture": "i686"},
        {"hw_firmware_type": "bios"},
        {"os_secure_boot": "optional"},
        {"os_secure_boot": "disabled"},
    )
    def test_fits(self, properties: dict[str, str]) -> None:
        self.assertIsNone(self.check(properties=properties))

    @ddt.data(
        ({"hw_machine_type": "pc"}, "for machine type pc, the server is of type q35"),
        ({"hw_machine_type": "pc-i440fx-7.2"}, "the server is of type q35"),
        ({"hw_architecture": "aarch64"}, "is for aarch64, the server is x86_64"),
        ({"hw_firmware_type": "uefi"}, "boots by UEFI alone, the server has BIOS"),
        ({"os_secure_boot": "required"}, "requires secure boot"),
    )
    @ddt.unpack
    def test_does_not_fit(self, properties: dict[str, str], reason: str) -> None:
        self.assertIn(reason, self.refused(properties=properties))

    def test_uefi(self) -> None:
        domain = original(uefi=True)
        self.assertIsNone(
            self.check(domain=domain, properties={"hw_firmware_type": "uefi"})
        )
        told = self.refused(domain=domain, properties={"hw_firmware_type": "bios"})
        self.assertIn("boots by BIOS alone, the server has UEFI", told)
        told = self.refused(domain=domain, properties={"os_secure_boot": "required"})
        self.assertIn("requires secure boot", told)

    def test_secure_boot(self) -> None:
        domain = original(uefi=True, secure=True)
        self.assertIsNone(
            self.check(domain=domain, properties={"os_secure_boot": "required"})
        )


class ContentTest(InspectionTestBase):
    def test_size(self) -> None:
        told = self.assertRaises(
            exception.Refused,
            inspection.check_content,
            IMAGE,
            "disk",
            Content(101 * units.Gi, True),
            "disk",
        )
        self.assertIn("at most 100 GiB", str(told))

    def test_iso(self) -> None:
        """A hybrid boots as a disk, too."""
        iso = IMAGE | {"disk_format": "iso"}
        plain, hybrid = Content(units.Mi, False), Content(units.Mi, True)
        self.assertIsNone(inspection.check_content(iso, "cdrom", plain, "cdrom"))
        self.assertIsNone(inspection.check_content(iso, "disk", hybrid, "disk"))
        self.assertIsNone(inspection.check_content(iso, "cdrom", hybrid, "disk"))
        told = self.assertRaises(
            exception.Refused, inspection.check_content, iso, "disk", plain, "disk"
        )
        self.assertIn("hw_rescue_device=cdrom", str(told))


class FindingsTest(InspectionTestBase):
    def test_the_servers_own_image(self) -> None:
        base_image = {"image_base_image_ref": IMAGE["id"]}
        for instance in (
            server(image_ref=IMAGE["id"]),
            server(system_metadata=base_image),
        ):
            (found,) = inspection.findings(instance, IMAGE, "disk")
            self.assertIn("the one that the server was made from", found)

    def test_another_image(self) -> None:
        self.assertEqual((), inspection.findings(server(image_ref=""), IMAGE, "disk"))

    def test_a_cdrom_that_is_none(self) -> None:
        (found,) = inspection.findings(server(), IMAGE, "cdrom")
        self.assertIn("raw, not iso", found)
        iso = IMAGE | {"disk_format": "iso"}
        self.assertEqual((), inspection.findings(server(), iso, "cdrom"))
