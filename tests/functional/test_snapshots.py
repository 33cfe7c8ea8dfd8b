# SPDX-License-Identifier: Apache-2.0
"""Snapshots of a rescued server's volumes, which move its guest to new files (U36)."""

from pathlib import Path
from typing import Any

import fixtures

from stable_rescue import nova_internals
from stable_rescue.domain import sources
from stable_rescue.domain.document import Domain
from tests.functional.failures import NO_MEMORY
from tests.functional.volumes import VOLUMES, VolumesTestBase


class SnapshotTest(VolumesTestBase):
    """A snapshot moves a volume of the rescued server to a new file (U36)."""

    def setUp(self) -> None:
        super().setUp()
        self.old = str(self.storage.path(VOLUMES[0]))
        self.new = str(self.storage.folder / "snapshot")

    def snapshot(self) -> None:
        """Move the guest to a new file, which libvirt notes in both definitions.

        Cinder notes the name of the file, but not its format.
        """
        self.storage.moved[VOLUMES[0]] = Path(self.new)
        domain = self.domain()
        for definition in (domain._def, getattr(domain, "_next", domain._def)):
            for disk in definition["devices"]["disks"]:
                if disk["source"] == self.old:
                    disk.update(source=self.new, driver_type="qcow2")

    def assert_on_new_file(self) -> None:
        """Assert that the guest uses the new file, in its format."""
        disks = list(Domain.parse(self.definition(self.server)).disks())
        self.assertNotIn(self.old, [sources.path_of(disk) for disk in disks])
        (disk,) = (disk for disk in disks if sources.path_of(disk) == self.new)
        self.assertEqual("qcow2", disk.find("driver").get("type"))

    def test_unrescue_starts_the_new_file(self) -> None:
        self.rescue_server()
        self.snapshot()
        self.unrescue_server()
        self.assert_on_new_file()
        self.assertIsNone(self.rescue_disk())

    def test_unrescue_of_a_stopped_server_defines_the_new_file(self) -> None:
        self.stop()
        self.rescue_server()
        self.snapshot()
        self.unrescue_server("SHUTOFF")
        self.assert_on_new_file()

    def test_snapshot_during_the_shutdown_is_followed(self) -> None:
        self.rescue_server()
        power_off = self.driver.power_off

        def snapshot_and_power_off(*args: Any) -> None:
            self.snapshot()
            power_off(*args)

        self.useFixture(
            fixtures.MockPatchObject(self.driver, "power_off", snapshot_and_power_off)
        )
        self.unrescue_server()
        self.assert_on_new_file()

    def test_failed_unrescue_keeps_the_new_file(self) -> None:
        self.rescue_server()
        self.snapshot()
        start = nova_internals.start_guest
        starts: list[str] = []

        def fail_once(driver: Any, context: Any, xml: str, instance: Any) -> None:
            starts.append(xml)
            if len(starts) == 1:
                raise NO_MEMORY
            start(driver, context, xml, instance)

        self.useFixture(
            fixtures.MonkeyPatch("stable_rescue.nova_internals.start_guest", fail_once)
        )
        self.error_of(self.unrescue, self.server)
        self.assert_rescued()
        self.assert_on_new_file()
        self.unrescue_server()
        self.assert_on_new_file()

    def test_host_reboot_after_a_snapshot_keeps_the_new_file(self) -> None:
        self.rescue_server()
        self.snapshot()
        self.domain().destroy()
        self.restart_compute_service("compute1")
        self.assert_rescued()
        self.assert_on_new_file()
        self.unrescue_server()
        self.assert_on_new_file()
