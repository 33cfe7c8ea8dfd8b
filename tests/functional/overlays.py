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

# What Nova's libvirt fixture drops of a disk, and the key under which it is kept.
_KEPT = ("serial", "backingStore")
_DETAILS = "details"
#: The size of each disk.
SIZE = 64 * units.Mi


class DiscardingMixin:
    """Makes an image whose rescue discards what it writes; the operator allows it."""

    def make_server(self) -> None:
        self.overlays = self.useFixture(OverlaysFixture())
        super().make_server()
        self.image = self.create_rescue_image(
            hw_rescue_bus="usb", hw_rescue_writes="discard"
        )
        self.flags(allowed_writes="keep,discard", group="stable_rescue")


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
        self._keep_details()
        self.useFixture(
            fixtures.MonkeyPatch(
                "nova.virt.images.privileged_qemu_img_info", _image_info
            )
        )

    def _keep_details(self) -> None:
        """Keep serials, by which Nova finds volumes, and what is below an overlay."""
        parse, describe = libvirt._parse_disk_info, libvirt.Domain.XMLDesc

        def parse_with_details(element: Any) -> dict[str, Any]:
            kept = [element.find(tag) for tag in _KEPT]
            texts = [etree.tostring(each) for each in kept if each is not None]
            return {**parse(element), _DETAILS: texts}

        def describe_with_details(domain: Any, flags: int) -> str:
            root = etree.fromstring(describe(domain, flags))
            disks = domain._def["devices"]["disks"]
            details = {disk["target_dev"]: disk.get(_DETAILS, ()) for disk in disks}
            for target in root.iterfind("devices/disk/target"):
                added = map(etree.fromstring, details.get(target.get("dev"), ()))
                target.getparent().extend(added)
            return etree.tostring(root, encoding="unicode")

        for name, function in (
            ("_parse_disk_info", parse_with_details),
            ("Domain.XMLDesc", describe_with_details),
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
