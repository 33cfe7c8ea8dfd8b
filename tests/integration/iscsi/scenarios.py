# SPDX-License-Identifier: Apache-2.0
"""Scenarios with an iSCSI target: `python -m tests.integration.iscsi.scenarios`.

Run them in a new mount namespace, because this mounts over /sys.
"""

import os
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

from lxml import etree

# The imports below read this variable.
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
from stable_rescue.domain.document import Domain  # noqa: E402
from stable_rescue.storage import volumes  # noqa: E402
from tests.integration.iscsi import iscsiadm, target  # noqa: E402

CONF = nova_conf.CONF
MARKER = b"written on the host"


class Device(dict):
    """Replaces Nova's DriverVolumeBlockDevice."""

    volume_size = target.SIZE // 1024**3

    def __init__(self, volume: str, connection_info: dict[str, Any], name: str) -> None:
        super().__init__(
            connection_info=connection_info,
            mount_device=f"/dev/{name}",
            attachment_id=f"attachment of {volume}",
        )
        self.volume_id = volume


class Host:
    """Nova's libvirt driver without libvirt, and the volumes of one server."""

    def __init__(self, exported: target.Target, names: list[str]) -> None:
        self.driver = libvirt_driver.LibvirtDriver.__new__(libvirt_driver.LibvirtDriver)
        self.driver.volume_drivers = {}
        self.driver._host = mock.Mock()
        self.driver._host.find_secret.return_value = None
        self.driver._host.get_guest.return_value.is_active.return_value = False
        self.driver._volume_api = mock.Mock()
        self.driver._volume_api.get.return_value = {"shared_targets": False}
        self.driver._volume_api.attachment_update.side_effect = (
            nova_exception.CinderConnectionFailed(reason="down")
        )
        self.context = nova_context.get_admin_context()
        self.instance = mock.Mock(uuid="a server")
        devices, disks = [], []
        for number, name in enumerate(names):
            dev = f"vd{chr(ord('b') + number)}"
            devices.append(Device(name, exported.connection_info(name), dev))
            disks.append(
                "<disk type='block' device='disk'><source dev='/dev/gone'/>"
                f"<target dev='{dev}' bus='virtio'/><serial>{name}</serial></disk>"
            )
        self.block_device_info = {"block_device_mapping": devices}
        self.original_xml = (
            "<domain><name>a</name><uuid>b</uuid><os><type>hvm</type></os>"
            f"<devices>{''.join(disks)}</devices></domain>"
        )

    def connect(self, connections: list[volumes.Connection]) -> dict[str, str]:
        """Connect the volumes, as the rescue of a stopped server does."""
        with mock.patch("stable_rescue.storage.attachment.save"):
            return volumes.connect(
                self.driver,
                self.context,
                self.instance,
                self.block_device_info,
                Domain.parse(self.original_xml),
                connections,
            )

    def disconnect(self, connections: list[volumes.Connection]) -> None:
        """Disconnect what connect() connected."""
        with mock.patch("stable_rescue.storage.attachment.exists", return_value=True):
            volumes.disconnect(self.driver, self.context, self.instance, connections)


def several(exported: target.Target) -> None:
    """Connect three volumes, write to each of them, and disconnect them."""
    names = ["first", "second", "third"]
    for name in names:
        exported.add(name)
    host = Host(exported, names)
    connections: list[volumes.Connection] = []
    disks = host.connect(connections)
    assert exported.sessions() == len(names)
    for name, disk in zip(names, disks.values(), strict=True):
        path = sources.path_of(etree.fromstring(disk))
        assert path, disk
        written = MARKER + name.encode()
        _write(path, written)
        exported_data = exported.file(name).read_bytes()[: len(written)]
        assert exported_data == written, (path, exported_data)
    original = Domain.parse(host.original_xml)
    refreshed = sources.refreshed(original, disks)[0].to_xml()
    assert "/dev/gone" not in refreshed, refreshed
    again: list[volumes.Connection] = []
    assert host.connect(again) == disks
    assert all(connection.was_connected for connection in again), again
    host.disconnect(again)
    assert exported.sessions() == len(names)
    host.disconnect(connections)
    _assert_nothing_left(exported)


def one_fails(exported: target.Target) -> None:
    """Connect four volumes, of which one is exported to another host.

    The new connections are removed; the volume that was connected before stays.
    """
    exported.add("kept")
    host_before = Host(exported, ["kept"])
    kept: list[volumes.Connection] = []
    host_before.connect(kept)
    for name in ("new", "another"):
        exported.add(name)
    exported.add("foreign", initiator="iqn.2026-01.org.example:another-host")
    host = Host(exported, ["kept", "new", "foreign", "another"])
    connections: list[volumes.Connection] = []
    try:
        host.connect(connections)
    except exception.Refused as exc:
        assert "volume foreign (vdd) cannot be connected" in str(exc), exc
    else:
        raise AssertionError("a volume exported to another host was connected")
    host.disconnect(connections)
    targets = [session.target for session in iscsiadm.sessions() if session.open]
    assert targets == [exported.name("kept")], targets
    assert exported.sessions() == 1
    host_before.disconnect(kept)
    _assert_nothing_left(exported)


def _write(path: str, data: bytes) -> None:
    """Write to the first sector of a device, through all caches."""
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


def main() -> None:
    """Run the scenarios, one after the other."""
    CONF([], project="nova", default_config_files=[])
    conf.register_opts(CONF)
    CONF.set_override("lock_path", str(_FOLDER), group="oslo_concurrency")
    os_brick.setup(CONF)
    privileged.default.set_client_mode(False)  # This process is root already.
    with target.running(_FOLDER) as exported:
        several(exported)
        one_fails(exported)


if __name__ == "__main__":
    main()
