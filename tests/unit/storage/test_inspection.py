# SPDX-License-Identifier: Apache-2.0
"""Images that cannot become a rescue disk are refused, others may get a finding."""

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
    """Return an instance with the fields that the checks read."""
    flavor = SimpleNamespace(memory_mb=512)
    fields = {"flavor": flavor, "image_ref": "own", "system_metadata": {}} | values
    return SimpleNamespace(**fields)


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
    def test_allowed_disk_format_is_accepted(self, disk_format: str) -> None:
        self.assertIsNone(self.check(disk_format=disk_format))

    @ddt.data("vmdk", "vhd", "vdi", "ploop", "luks", None)
    def test_other_disk_format_is_refused(self, disk_format: str | None) -> None:
        self.assertIn(
            f"disk format {disk_format}", self.refused(disk_format=disk_format)
        )

    @ddt.data("ovf", "ova", "docker", "compressed")
    def test_packed_image_is_refused(self, container: str) -> None:
        self.assertIn(
            f"container format {container}", self.refused(container_format=container)
        )

    @ddt.data("queued", "saving", "deactivated", "killed")
    def test_inactive_image_is_refused(self, status: str) -> None:
        self.assertIn(f"is {status}, not active", self.refused(status=status))

    @ddt.data("block_device_mapping", "img_block_device_mapping")
    def test_image_of_volume_snapshots_is_refused(self, name: str) -> None:
        reason = self.refused(properties={name: '[{"snapshot_id": "s"}]'})
        self.assertIn("contains no data", reason)

    def test_flavor_memory_below_min_ram_is_refused(self) -> None:
        self.assertIsNone(self.check(min_ram=512))
        self.assertIn("needs 513 MiB", self.refused(min_ram=513))

    def test_root_disk_below_min_disk_is_refused(self) -> None:
        self.assertIsNone(self.check(min_disk=10))
        self.assertIn("needs a root disk of 11 GiB", self.refused(min_disk=11))
        # As for a new server, a flavor without a limit allows every image.
        self.assertIsNone(self.check(min_disk=1024, root_gb=0))

    def test_size_above_max_medium_size_is_refused(self) -> None:
        image = {"size": 100 * units.Gi + 1}
        self.assertIn("of 101 GiB; at most 100 GiB", self.refused(**image))
        CONF.set_override("max_medium_size", 0, "stable_rescue")
        self.addCleanup(CONF.clear_override, "max_medium_size", "stable_rescue")
        self.assertIsNone(self.check(**image))

    def test_file_size_of_qcow2_is_not_limited(self) -> None:
        self.assertIsNone(self.check(size=101 * units.Gi, disk_format="qcow2"))

    def test_floppy_of_wrong_size_or_format_is_refused(self) -> None:
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
    def test_fitting_machine_is_accepted(self, properties: dict[str, str]) -> None:
        self.assertIsNone(self.check(properties=properties))

    @ddt.data(
        ({"hw_machine_type": "pc"}, "for machine type pc, but the server has q35"),
        ({"hw_machine_type": "pc-i440fx-7.2"}, "but the server has q35"),
        ({"hw_architecture": "aarch64"}, "is for aarch64, but the server is x86_64"),
        ({"hw_firmware_type": "uefi"}, "boots only with UEFI, but the server has BIOS"),
        ({"os_secure_boot": "required"}, "requires secure boot"),
    )
    @ddt.unpack
    def test_other_machine_is_refused(
        self, properties: dict[str, str], reason: str
    ) -> None:
        self.assertIn(reason, self.refused(properties=properties))

    def test_firmware_of_uefi_server_must_fit(self) -> None:
        domain = original(uefi=True)
        self.assertIsNone(
            self.check(domain=domain, properties={"hw_firmware_type": "uefi"})
        )
        reason = self.refused(domain=domain, properties={"hw_firmware_type": "bios"})
        self.assertIn("boots only with BIOS, but the server has UEFI", reason)
        reason = self.refused(domain=domain, properties={"os_secure_boot": "required"})
        self.assertIn("requires secure boot", reason)

    def test_server_with_secure_boot_fits(self) -> None:
        domain = original(uefi=True, secure=True)
        self.assertIsNone(
            self.check(domain=domain, properties={"os_secure_boot": "required"})
        )


class ContentTest(InspectionTestBase):
    def test_large_virtual_size_is_refused(self) -> None:
        refused = self.assertRaises(
            exception.Refused,
            inspection.check_content,
            IMAGE,
            "disk",
            Content(101 * units.Gi, True),
            "disk",
        )
        self.assertIn("at most 100 GiB", str(refused))

    def test_plain_iso_as_disk_is_refused(self) -> None:
        """A hybrid ISO image also boots as a disk."""
        iso = IMAGE | {"disk_format": "iso"}
        plain, hybrid = Content(units.Mi, False), Content(units.Mi, True)
        self.assertIsNone(inspection.check_content(iso, "cdrom", plain, "cdrom"))
        self.assertIsNone(inspection.check_content(iso, "disk", hybrid, "disk"))
        self.assertIsNone(inspection.check_content(iso, "cdrom", hybrid, "disk"))
        refused = self.assertRaises(
            exception.Refused, inspection.check_content, iso, "disk", plain, "disk"
        )
        self.assertIn("hw_rescue_device=cdrom", str(refused))


class FindingsTest(InspectionTestBase):
    def test_image_of_the_server_is_reported(self) -> None:
        base_image = {"image_base_image_ref": IMAGE["id"]}
        for instance in (
            server(image_ref=IMAGE["id"]),
            server(system_metadata=base_image),
        ):
            (finding,) = inspection.findings(instance, IMAGE, "disk")
            self.assertIn("the one that the server was made from", finding)

    def test_other_image_has_no_findings(self) -> None:
        self.assertEqual((), inspection.findings(server(image_ref=""), IMAGE, "disk"))

    def test_cdrom_from_raw_image_is_reported(self) -> None:
        (finding,) = inspection.findings(server(), IMAGE, "cdrom")
        self.assertIn("raw, not iso", finding)
        iso = IMAGE | {"disk_format": "iso"}
        self.assertEqual((), inspection.findings(server(), iso, "cdrom"))
