# SPDX-License-Identifier: Apache-2.0
"""Overlays on Nova's libvirt fixture, which knows no sizes of disks."""

from pathlib import Path
from typing import Any

import fixtures
from lxml import etree
from nova.tests.fixtures import libvirt
from oslo_utils import units

from stable_rescue.domain import overlays
from stable_rescue.domain.document import Domain
from stable_rescue.storage.record import Record

#: The size of each disk.
SIZE = 64 * units.Mi


class OverlaysFixture(fixtures.Fixture):
    """Gives every disk a size, and makes overlays without qemu-img.

    ``made`` counts how often each file was made.
    """

    def _setUp(self) -> None:
        self.made: dict[str, int] = {}

        def create_image(path: str, disk_format: str, size: int) -> None:
            assert (disk_format, size) == ("qcow2", SIZE)
            Path(path).write_bytes(b"overlay")
            self.made[Path(path).name] = self.made.get(Path(path).name, 0) + 1

        self.useFixture(
            fixtures.MonkeyPatch(
                "stable_rescue.storage.overlays.libvirt_utils.create_image",
                create_image,
            )
        )
        self.useFixture(
            fixtures.MonkeyPatch(
                "nova.tests.fixtures.libvirt.Domain.blockInfo",
                lambda _domain, _target: [SIZE, SIZE, SIZE],
            )
        )
        self._keep_serials()
        self.useFixture(
            fixtures.MonkeyPatch(
                "nova.virt.images.privileged_qemu_img_info", _image_info
            )
        )

    def _keep_serials(self) -> None:
        """Keep the serials of disks, by which Nova finds volumes in a definition."""
        parse, describe = libvirt._parse_disk_info, libvirt.Domain.XMLDesc

        def parse_with_serial(element: Any) -> dict[str, Any]:
            return {**parse(element), "serial": element.findtext("serial")}

        def describe_with_serials(domain: Any, flags: int) -> str:
            root = etree.fromstring(describe(domain, flags))
            disks = domain._def["devices"]["disks"]
            serials = {disk["target_dev"]: disk.get("serial") for disk in disks}
            for target in root.iterfind("devices/disk/target"):
                if serial := serials.get(target.get("dev")):
                    etree.SubElement(target.getparent(), "serial").text = serial
            return etree.tostring(root, encoding="unicode")

        for name, function in (
            ("_parse_disk_info", parse_with_serial),
            ("Domain.XMLDesc", describe_with_serials),
        ):
            self.useFixture(
                fixtures.MonkeyPatch(f"nova.tests.fixtures.libvirt.{name}", function)
            )


class _ImageInfo:
    virtual_size = SIZE


def _image_info(_path: str, image_format: Any) -> _ImageInfo:
    assert image_format in ("raw", "qcow2", "luks")
    return _ImageInfo()


def names(record: Record) -> list[str]:
    """Return the names of the overlays in a rescue definition, sorted."""
    rescue = Domain.parse(record.rescue_xml)
    return sorted(f"overlay.{target}.rescue" for target in overlays.targets(rescue))
