# SPDX-License-Identifier: Apache-2.0
"""A definition agrees with the <disk> that Nova's volume drivers write (E4)."""

from typing import Any
from unittest import mock

import hypothesis
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree
from nova.virt.libvirt.volume import net, nfs, quobyte, smbfs, volume, vzstorage
from oslotest import base

from stable_rescue.domain import sources
from stable_rescue.domain.document import Domain
from tests.unit.domain import samples

TARGET = "vdf"
FORMATS = ("raw", "qcow2")
PATHS = ("/mnt/a/volume", "/mnt/a/volume.snapshot", "/dev/dm-3", "/dev/dm-4")
# Attributes of the driver that are the operator's, the flavor's or the image's.
DRIVER = {
    "cache": ("none", "writeback"),
    "io": ("native", "threads", "io_uring"),
    "discard": ("unmap", "ignore"),
    "queues": ("2", "4"),
    "iothread": ("1",),
}


def volume_driver(cls: type, **attributes: Any) -> Any:
    """Return a volume driver of Nova that has not looked for its tools."""
    driver = object.__new__(cls)
    driver.is_block_dev = cls is volume.LibvirtVolumeDriver
    driver.host = mock.Mock(**{"find_secret.return_value": None})
    for name, value in attributes.items():
        setattr(driver, name, value)
    return driver


DRIVERS = [
    volume_driver(nfs.LibvirtNFSVolumeDriver),
    volume_driver(smbfs.LibvirtSMBFSVolumeDriver),
    volume_driver(quobyte.LibvirtQuobyteVolumeDriver),
    volume_driver(vzstorage.LibvirtVZStorageVolumeDriver),
    volume_driver(volume.LibvirtVolumeDriver, connector=None),
    volume_driver(net.LibvirtNetVolumeDriver),
]


@st.composite
def written(draw: st.DrawFn) -> str:
    """Draw the <disk> that Nova writes for a volume."""
    path = draw(st.sampled_from(PATHS))
    data = {
        "device_path": path,
        "name": path.rpartition("/")[2],
        "export": "host:/share",
        "qos_specs": None,
        "access_mode": "rw",
        "hosts": ["192.0.2.1"],
        "ports": ["6789"],
        "auth_enabled": False,
        "discard": draw(st.booleans()),
    }
    image_format = draw(st.sampled_from((*FORMATS, None)))
    if image_format:
        data["format"] = image_format
    info = {"driver_volume_type": "rbd", "serial": "s", "data": data}
    mapping = {"dev": TARGET, "bus": "virtio", "type": "disk"}
    config = draw(st.sampled_from(DRIVERS)).get_config(info, mapping)
    return str(config.to_xml())


@st.composite
def defined(draw: st.DrawFn) -> str:
    """Draw the <disk> of a definition, with a driver that is more than Nova writes."""
    disk = etree.fromstring(draw(written()))
    driver = disk.find("driver")
    driver.set("type", draw(st.sampled_from(FORMATS)))
    for name, values in DRIVER.items():
        value = draw(st.sampled_from((None, *values)))
        if value:
            driver.set(name, value)
    return etree.tostring(disk, encoding="unicode")


def parts(disk: etree._Element) -> tuple[Any, ...]:
    """Return what must agree: the type and what the source is called."""
    return disk.get("type"), dict(disk.find("source").attrib)


def settings(disk: etree._Element) -> dict[str, str]:
    """Return the attributes of the driver without the format."""
    return {k: v for k, v in disk.find("driver").attrib.items() if k != "type"}


class AgreeTest(base.BaseTestCase):
    @hypothesis.settings(deadline=None)
    @given(defined(), written())
    def test_type_source_and_format_agree(self, before: str, fresh: str) -> None:
        domain = samples.domain("q35")
        samples.add(domain, before)
        refreshed, _edits = sources.refreshed(
            Domain.parse(domain.to_xml()), {TARGET: fresh}
        )
        (disk,) = (
            d for d in refreshed.disks() if d.find("target").get("dev") == TARGET
        )
        old, new = etree.fromstring(before), etree.fromstring(fresh)
        self.assertEqual(parts(new), parts(disk))
        # A file that is still the same is what QEMU has last used it as.
        newest = old if parts(old) == parts(new) else new
        self.assertEqual(
            newest.find("driver").get("type"), disk.find("driver").get("type")
        )
        self.assertEqual(settings(old), settings(disk))
