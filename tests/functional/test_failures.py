# SPDX-License-Identifier: Apache-2.0
"""Rescues and unrescues that fail, and rescues that find leftovers of others."""

from unittest import mock

import fixtures
from nova import exception as nova_exception
from nova.compute import vm_states

from stable_rescue.storage.record import State
from tests.functional.failures import NO_MEMORY, FailureTestBase


class FailedTest(FailureTestBase):
    """A rescue that fails is rolled back: no ERROR, no server left powered off (U7)."""

    def test_failure_after_power_off_is_rolled_back(self) -> None:
        self.run_checks()

    def check_failed_start_of_the_rescue_is_rolled_back(self) -> None:
        self.fail_launch(of_rescue=True)
        message = self.error_of(self.rescue, self.server, self.image)
        self.assertIn("could not be started", message)
        self.assertNotIn("/dev/x", message)
        self.assert_restored()

    def test_failed_start_leaves_a_stopped_server_stopped(self) -> None:
        self._stop_server(self.server)
        self.fail_launch(of_rescue=True)
        self.error_of(self.rescue, self.server, self.image)
        self.assert_restored(running=False)

    def check_failed_power_off_is_rolled_back(self) -> None:
        self.power_offs().side_effect = nova_exception.InstancePowerOffFailure(
            reason="x"
        )
        message = self.error_of(self.rescue, self.server, self.image)
        self.assertIn("could not be powered off", message)
        self.assert_restored()

    def test_failed_volume_connect_refuses_before_power_off(self) -> None:
        self._stop_server(self.server)
        power_off = self.power_offs()
        with mock.patch("stable_rescue.storage.volumes.connect", side_effect=NO_MEMORY):
            message = self.error_of(self.rescue, self.server, self.image)
        self.assertIn("cannot prepare the rescue", message)
        power_off.assert_not_called()
        self.assert_restored(running=False)

    def test_failed_rollback_sets_error_and_restart_recovers(self) -> None:
        with mock.patch(
            "stable_rescue.nova_internals.start_guest", side_effect=NO_MEMORY
        ):
            self.error_of(self.rescue, self.server, self.image)
        self._wait_for_server_parameter(self.server, {"status": "ERROR"})
        self.assertEqual(State.BEGINNING, self.record().state)
        self.restart_compute_service("compute1")
        self.assert_restored()

    def check_failed_start_in_unrescue_leaves_it_rescued(self) -> None:
        self.rescue_server()
        self.fail_launch(of_rescue=False)
        self.error_of(self.unrescue, self.server)
        self.assert_rescued()
        # The next start succeeds.
        with fixtures.MonkeyPatch(
            "nova.virt.libvirt.guest.Guest.launch",
            lambda guest, pause=False: guest._domain.createWithFlags(0),
        ):
            self.unrescue(self.server)
        self.assert_restored()

    def test_medium_that_unrescue_left_is_removed_at_restart(self) -> None:
        self.rescue_server()
        self.unrescue_without_cleanup()
        self.assertEqual(self.original, self.definition(self.server))
        self.restart_compute_service("compute1")
        self.assert_restored()


class UnreadableDirectoryTest(FailureTestBase):
    """After the first power-off, the instance's directory cannot be read."""

    def setUp(self) -> None:
        super().setUp()
        self.lost = self.folder(self.server)
        self.kept = self.lost.with_name("kept")

    def lose_directory_at_power_off(self) -> None:
        power_off = self.power_offs()

        def lose_directory(*_args: object) -> object:
            power_off.side_effect = None  # Only once.
            self.lost.rename(self.kept)
            # Each access below a file is an OSError.
            self.lost.touch()
            return mock.DEFAULT  # The mock calls the driver's power_off next.

        power_off.side_effect = lose_directory

    def find_directory(self) -> None:
        self.lost.unlink()
        self.kept.rename(self.lost)

    def test_failed_rescue_sets_error_and_restart_recovers(self) -> None:
        self.lose_directory_at_power_off()
        message = self.error_of(self.rescue, self.server, self.image)
        self.assertIn("could not be started", message)
        self.assert_status("ERROR")
        self.find_directory()
        self.restart_compute_service("compute1")
        self.assert_restored()

    def test_failed_unrescue_can_be_repeated(self) -> None:
        self.rescue_server()
        self.lose_directory_at_power_off()
        message = self.error_of(self.unrescue, self.server)
        self.assertIn("InstanceNotRescuable", message)
        self.assert_status("RESCUE")
        self.find_directory()
        self.unrescue(self.server)
        self.assert_restored()


class StaleRecordTest(FailureTestBase):
    """An earlier rescue has ended, but its record was not removed."""

    def leave_record(self) -> None:
        self.rescue_server()
        record = self.record().at(State.ENDING)
        self.unrescue_server()
        self.store().save(record)

    def test_stale_record_does_not_start_a_stopped_server(self) -> None:
        self.leave_record()
        self._stop_server(self.server)
        self.rescue_server()
        self.unrescue(self.server)
        self.assert_restored(running=False)

    def test_damaged_stale_record_does_not_block_a_rescue(self) -> None:
        self.leave_record()
        (self.folder(self.server) / "stable_rescue.json").write_text("{")
        self.rescue_server()
        self.unrescue(self.server)
        self.assert_restored()


class ForeignStateTest(FailureTestBase):
    """A rescue finds what a stock rescue or an operator has left."""

    def test_rescue_after_a_stock_rescue_or_undefine_restores(self) -> None:
        self.run_checks()

    def check_server_in_error_after_stock_rescue_is_rescued(self) -> None:
        self.rescue_server(self.create_rescue_image())
        (self.folder(self.server) / "disk.rescue").touch()
        self.set_nova_state(vm_states.ERROR, None)
        self.assertNotEqual(self.original, self.definition(self.server))
        self.rescue_server()
        self.assertEqual(self.original, self.store().load_original().to_xml())
        self.unrescue(self.server)
        self.assert_restored()

    def check_server_in_error_after_rescue_by_novas_driver_is_rescued(self) -> None:
        """Nova's driver keeps the original in unrescue.xml, but writes no record."""
        self.rescue_server(self.create_rescue_image())
        self.store().remove_record()
        self.set_nova_state(vm_states.ERROR, None)
        self.rescue_server()
        self.assertEqual(self.original, self.store().load_original().to_xml())
        self.unrescue(self.server)
        self.assert_restored()

    def test_stock_rescue_after_a_failed_one_keeps_the_original(self) -> None:
        """U8."""
        with self.nothing_starts_or_is_rolled_back():
            self.error_of(self.rescue, self.server, self.image)
        self._wait_for_server_parameter(self.server, {"status": "ERROR"})
        self.assertNotEqual(self.original, self.definition(self.server))
        self.rescue_server(self.create_rescue_image())
        self.assertEqual(self.original, self.store().load_original().to_xml())
        self.unrescue(self.server)
        self.assert_restored()

    def test_image_that_asks_for_another_rescue_later_is_refused(self) -> None:
        """An editor adds the properties after the manager has read the image."""
        with mock.patch.object(self.driver, "prepare_rescue", return_value=False):
            message = self.error_of(self.rescue, self.server, self.image)
        self.assertIn("image changed", message)
        self.assert_original()

    def check_rescue_of_an_undefined_domain_has_all_devices(self) -> None:
        """U20: the saved original is complete, too."""
        domain = self.domain()
        domain.destroy()
        domain.undefine()
        self.rescue_server()
        self.assertEqual(self.original, self.store().load_original().to_xml())
        self.unrescue(self.server)
        self.assert_restored()


class PassthroughTest(FailureTestBase):
    """A server with a vGPU and an accelerator, which are mdev and PCI devices."""

    MDEV = {
        "type": "mdev",
        "model": "vfio-pci",
        "address_uuid": "4b20d080-1b54-4048-85b3-a6a62d165c01",
    }
    PCI = {
        "type": "pci",
        "managed": "yes",
        "domain": "0x0000",
        "bus": "0x81",
        "slot": "0x00",
        "function": "0x2",
    }

    def make_server(self) -> None:
        super().make_server()
        self.domain()._def["devices"]["hostdevs"] += [self.MDEV, self.PCI]

    def test_devices_stay_through_rescue_and_unrescue(self) -> None:
        self.rescue_server()
        for text in (self.MDEV["address_uuid"], "slot='0x00' function='0x2'"):
            self.assertIn(text, self.original.replace('"', "'"))
            self.assertIn(text, self.live_definition().replace('"', "'"))
        self.unrescue(self.server)
        self.assert_restored()

    def check_is_refused(self, spec: str, *kinds: str) -> None:
        instance = self.instance()
        instance.flavor.extra_specs[spec] = "1"
        instance.save()
        text = self.error_of(self.rescue, self.server, self.image)
        for kind in (*kinds, "hard reboot"):
            self.assertIn(kind, text)
        self.assert_status("ACTIVE")
        self.assertEqual({}, self.libvirt_connection()._vms)

    def test_lost_definition_with_such_devices_is_refused(self) -> None:
        """U20."""
        domain = self.domain()
        domain.destroy()
        domain.undefine()
        self.check_is_refused("resources:VGPU", "vGPU")
        self.check_is_refused("accel:device_profile", "vGPU and accelerator")
