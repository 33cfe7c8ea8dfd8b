# SPDX-License-Identifier: Apache-2.0
"""The server of the rows in which faults strike at every place."""

from typing import Any

import fixtures
from nova.tests import fixtures as nova_fixtures

from tests.functional.faults.base import FaultTestBase

VOLUME = nova_fixtures.CinderFixture.IMAGE_BACKED_VOL


class ServerOnLvm(FaultTestBase):
    """A server with a volume, a NIC and a config drive; rescue disks are on LVM."""

    def make_server(self) -> None:
        #: The ids of the volumes that the host has connected.
        self.connected: set[str] = set()
        self._watch_volumes()
        self._store_on_lvm()
        self.server = self.create_server(config_drive=True)
        self.api.post_server_volume(
            self.server["id"], {"volumeAttachment": {"volumeId": VOLUME}}
        )
        self.image = self.create_rescue_image(
            hw_rescue_bus="usb", kernel_id="k", ramdisk_id="r"
        )

    def _watch_volumes(self) -> None:
        driver = "nova.virt.libvirt.volume.volume.LibvirtFakeVolumeDriver."
        for name, change in (
            ("connect_volume", self.connected.add),
            ("disconnect_volume", self.connected.discard),
        ):
            self.useFixture(
                fixtures.MonkeyPatch(
                    driver + name,
                    lambda _driver, info, *_args, change=change, **_kwargs: change(
                        info["data"]["volume_id"]
                    ),
                )
            )
        self.useFixture(
            fixtures.MonkeyPatch(
                "stable_rescue.storage.volumes.is_connected",
                lambda _driver, volume, _info: volume.serial in self.connected,
            )
        )

    def _store_on_lvm(self) -> None:
        """Keep the names of LVM volumes in ``lvm`` instead of making any."""
        lvm: set[str] = set()
        self.lvm = lvm

        def fetch(*_args: Any, **_options: Any) -> None:
            lvm.add("x_disk.rescue")

        for name, function in (
            ("nova_internals.rescue_disks_of_lvm", lambda *_: sorted(lvm)),
            ("storage.medium.lvm.remove_volumes", lvm.difference_update),
        ):
            self.useFixture(fixtures.MonkeyPatch(f"stable_rescue.{name}", function))
        self.useFixture(
            fixtures.MockPatch(
                "nova.virt.libvirt.LibvirtDriver._create_and_inject_local_root", fetch
            )
        )

    def observed(self) -> dict[str, Any]:
        return super().observed() | {
            "lvm": sorted(self.lvm),
            "connected": set(self.connected),
            "attachments": dict(self.cinder.volume_to_attachment[VOLUME]),
        }
