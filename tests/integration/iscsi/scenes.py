# SPDX-License-Identifier: Apache-2.0
"""What is tried against the target; `python -m tests.integration.iscsi.scenes NAME`.

It needs a mount namespace of its own, for its /sys.
"""

import os
import sys
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

from lxml import etree

# Before anything that reads it.
_FOLDER = Path(tempfile.mkdtemp(prefix="iscsi-", dir=os.environ.get("TMPDIR")))
os.environ["ISCSI_FOLDER"] = str(_FOLDER / "nodes")

import os_brick  # noqa: E402
from nova import conf as nova_conf  # noqa: E402
from nova import context as nova_context  # noqa: E402
from nova import exception as nova_exception  # noqa: E402
from nova.virt.libvirt import driver as libvirt_driver  # noqa: E402
from os_brick import privileged  # noqa: E402

from stable_rescue import conf, exception  # noqa: E402
from stable_rescue.domain import sources  # noqa: E402
from stable_rescue.storage import volumes  # noqa: E402
from tests.integration.iscsi import iscsiadm, target  # noqa: E402

CONF = nova_conf.CONF
MARKER = b"written on the host"


class Device(dict):
    """What Nova's DriverVolumeBlockDevice is to us."""

    volume_size = target.SIZE // 1024**3

    def __init__(self, volume: str, connection_info: dict[str, Any], name: str) -> None:
        super().__init__(
            connection_info=connection_info,
            mount_device=f"/dev/{name}",
            attachment_id=f"attachment of {volume}",
        )
        self.volume_id = volume


class Host:
    """Nova's libvirt driver, as far as volumes go, and a server's volumes."""

    def __init__(self, exported: target.Target, names: list[str]) -> None:
        # Its host is libvirt's, which is not asked for more than secrets here.
        self.driver = libvirt_driver.LibvirtDriver.__new__(libvirt_driver.LibvirtDriver)
        self.driver.volume_drivers = {}
        self.driver._host = mock.Mock()
        self.driver._host.find_secret.return_value = None
        self.driver._volume_api = mock.Mock()
        self.driver._volume_api.get.return_value = {"shared_targets": False}
        self.driver._volume_api.attachment_update.side_effect = (
            nova_exception.CinderConnectionFailed(reason="down")
        )
        self.context = nova_context.get_admin_context()
        self.instance = mock.Mock(uuid="a server")
        devices, disks = [], []
        for place, name in enumerate(names):
            dev = f"vd{chr(ord('b') + place)}"
            devices.append(Device(name, exported.connection_info(name), dev))
            disks.append(
                "<disk type='block' device='disk'><source dev='/dev/gone'/>"
                f"<target dev='{dev}' bus='virtio'/><serial>{name}</serial></disk>"
            )
        self.info = {"block_device_mapping": devices}
        self.definition = (
            "<domain><name>a</name><uuid>b</uuid><os><type>hvm</type></os>"
            f"<devices>{''.join(disks)}</devices></domain>"
        )

    def connect(self) -> volumes.Connected:
        """Connect the volumes as a rescue of a stopped server does."""
        with mock.patch("stable_rescue.storage.attachment.save"):
            return volumes.connect(
                self.driver, self.context, self.instance, self.info, self.definition
            )

    def disconnect(self, connected: volumes.Connected) -> None:
        """Undo it."""
        volumes.disconnect(self.driver, self.context, self.instance, connected.made)


def several(exported: target.Target) -> None:
    """Three volumes are connected, are what they should be, and are undone."""
    names = ["first", "second", "third"]
    for name in names:
        exported.add(name)
    host = Host(exported, names)
    connected = host.connect()
    assert exported.sessions() == len(names)
    for name, disk in zip(names, connected.disks.values(), strict=True):
        path = sources.path_of(etree.fromstring(disk))
        assert path, disk
        _write(path, MARKER + name.encode())
        held = exported.file(name).read_bytes()[: len(MARKER) + len(name)]
        assert held == MARKER + name.encode(), (path, held)
    fresh = sources.refreshed(host.definition, connected.disks)
    assert "/dev/gone" not in fresh, fresh
    again = host.connect()
    assert all(volume.was_there for volume in again.made), again
    assert again.disks == connected.disks
    host.disconnect(again)
    assert exported.sessions() == len(names)
    host.disconnect(connected)
    _assert_nothing_left(exported)


def one_fails(exported: target.Target) -> None:
    """One volume is not for this host: what is new is undone, what was there stays."""
    exported.add("kept")
    before = Host(exported, ["kept"])
    kept = before.connect()
    for name in ("new", "another"):
        exported.add(name)
    exported.add("not-ours", initiator="iqn.2026-01.org.example:another-host")
    host = Host(exported, ["kept", "new", "not-ours", "another"])
    try:
        host.connect()
    except exception.Refused as exc:
        assert "volume not-ours (vdd) cannot be connected" in str(exc), exc
    else:
        raise AssertionError("it has connected what is not for this host")
    left = [session.target for session in iscsiadm.sessions() if session.open]
    assert left == [exported.name("kept")], left
    assert exported.sessions() == 1
    before.disconnect(kept)
    _assert_nothing_left(exported)


def _write(path: str, data: bytes) -> None:
    """Write to a device's first sector, past any cache."""
    device = os.open(path, os.O_WRONLY | os.O_SYNC)
    try:
        os.write(device, data.ljust(512, b"\0"))
        os.fsync(device)
    finally:
        os.close(device)


def _assert_nothing_left(exported: target.Target) -> None:
    assert exported.sessions() == 0
    assert not iscsiadm.sessions()
    assert not list(Path("/dev").glob("sdx*"))
    assert not list(_FOLDER.glob("nodes/*"))


SCENES = {"several": several, "one_fails": one_fails}


def main(name: str) -> None:
    """Play a scene."""
    CONF([], project="nova", default_config_files=[])
    conf.register_opts(CONF)
    CONF.set_override("lock_path", str(_FOLDER), group="oslo_concurrency")
    os_brick.setup(CONF)
    privileged.default.set_client_mode(False)  # it runs as root
    with target.running(_FOLDER) as exported:
        SCENES[name](exported)


if __name__ == "__main__":
    main(sys.argv[1])
