# SPDX-License-Identifier: Apache-2.0
"""A rescue with hw_rescue_memory=dump, as users ask for it."""

from pathlib import Path
from typing import Any
from unittest import mock

from nova.compute import vm_states
from nova.tests.fixtures import libvirt

from stable_rescue.storage.record import State
from tests.functional.failures import NO_MEMORY, FailureTestBase
from tests.functional.memory import CONTENT, DumpingMixin
from tests.functional.options import Option
from tests.functional.server import ServerTestBase
from tests.functional.test_stopped_phase import StoppedPhaseFixture

NOT_BEGUN = libvirt.make_libvirtError(
    libvirt.libvirtError, "dump query failed, status=0", error_code=9
)


class DumpTestBase(DumpingMixin, ServerTestBase):
    """A server, and an image whose rescue dumps its memory."""

    def set_option(self, **options: Any) -> None:
        self.flags(group="stable_rescue", **options)

    def dump(self) -> Path:
        """Return the one dump."""
        (name,) = self.dump_files()
        return self.dumps / name


class DumpTest(DumpTestBase):
    def test_guest_is_paused_dumped_and_powered_off(self) -> None:
        self.rescue_server()
        self.assertEqual(["pause", "dump", "destroy"], self.memory.calls)
        self.assertEqual(str(self.dump()), self.record().memory_dump)
        self.unrescue_server()
        self.assert_restored()
        self.assertNotIn("resume", self.memory.calls)

    def test_dump_is_private_and_outlives_the_rescue(self) -> None:
        self.rescue_server()
        self.unrescue_server()
        self.assertEqual(b"1" + CONTENT, self.dump().read_bytes())
        self.assertEqual(0o600, self.dump().stat().st_mode & 0o777)
        self.assertTrue(self.dump().name.startswith(self.server["id"]))

    def test_format_is_the_first_that_qemu_has(self) -> None:
        for formats, written in (({0}, b"0"), ({0, 1, 2, 3}, b"3")):
            self.memory.formats = formats
            self.rescue_server()
            self.assertEqual(written + CONTENT, self.dump().read_bytes())
            self.dump().unlink()
            self.unrescue_server()

    def test_operator_may_want_an_elf_file(self) -> None:
        self.set_option(memory_dump_format="elf")
        self.rescue_server()
        self.assertEqual(b"0" + CONTENT, self.dump().read_bytes())

    def test_dump_is_an_event(self) -> None:
        self.rescue_server()
        names = [event["event"] for event in self.events(self.server)]
        self.assertIn("compute_rescue_dump", names)
        self.assertIn("compute_rescue_power_off", names)

    def test_record_is_not_for_releases_without_dumps(self) -> None:
        self.rescue_server()
        text = (self.folder(self.server) / "stable_rescue.json").read_text()
        self.assertIn('"format": 4', text)

    def test_nothing_slow_happens_while_the_guest_is_off(self) -> None:
        phases = self.useFixture(StoppedPhaseFixture())
        self.rescue_server()
        self.assertEqual([[]], phases.calls)

    def test_image_without_the_property_dumps_nothing(self) -> None:
        self.rescue_server(self.create_rescue_image(hw_rescue_bus="usb"))
        self.assertEqual([], self.dump_files())


class FailedDumpTest(DumpTestBase, FailureTestBase):
    def test_failed_dump_resumes_the_guest(self) -> None:
        def fail() -> None:
            raise NO_MEMORY

        self.memory.after_dump = fail
        text = self.error_of(self.rescue, self.server, self.image)
        self.assertIn("the server's memory could not be dumped", text)
        self.assert_restored()
        self.assertEqual(["pause", "dump", "resume"], self.memory.calls)
        self.assertEqual([], self.dump_files())

    def test_failed_rescue_keeps_a_complete_dump(self) -> None:
        self.fail_launch(of_rescue=True)
        self.error_of(self.rescue, self.server, self.image)
        self.assert_restored()
        self.assertEqual(b"1" + CONTENT, self.dump().read_bytes())

    def test_recovery_waits_for_a_dump_that_goes_on(self) -> None:
        # QEMU has not begun, has begun, and has ended.
        jobs = [NOT_BEGUN, [2, *[0] * 11], [0] * 12]
        with mock.patch(
            "nova.tests.fixtures.libvirt.Domain.jobInfo", side_effect=jobs
        ) as job:
            self.interrupt()
            self.restart_compute_service("compute1")
        self.assertEqual(len(jobs), job.call_count)
        self.assert_restored()

    def test_user_who_paused_the_server_since_is_respected(self) -> None:
        self.interrupt()
        self.set_nova_state(vm_states.PAUSED, None)
        self.restart_compute_service("compute1")
        self.assertNotIn("resume", self.memory.calls)
        self.assertEqual([], self.dump_files())

    def test_deletion_after_an_interruption_removes_the_file(self) -> None:
        self.interrupt()
        self.set_nova_state(vm_states.ACTIVE, None)
        self._delete_server(self.server)
        self.assertEqual([], self.dump_files())

    def interrupt(self) -> None:
        """Leave what a nova-compute leaves that is killed in a dump."""
        self.rescue_server()
        record = self.record()
        self.unrescue_server()
        Path(record.memory_dump).unlink()
        name = f".{Path(record.memory_dump).name}.new"
        (self.dumps / name).write_bytes(b"half a dump")
        self.store().save(record.at(State.BEGINNING))
        self.domain().suspend()
        self.set_nova_state(vm_states.ACTIVE, "rescuing")
        self.memory.calls.clear()
        self.set_option(stalled_after=0)


class DumpRefusedTest(DumpTestBase):
    def test_rescue_is_refused(self) -> None:
        self.run_checks()

    def check_operator_has_to_allow_it(self) -> None:
        self.useFixture(Option(memory_dump_path=None))
        self.assert_refused("hw_rescue_memory=dump; the operator allows none")

    def check_stock_rescue_cannot_do_it(self) -> None:
        image = self.create_rescue_image(hw_rescue_memory="dump")
        self.assert_refused("asks for a stock rescue", image=image)

    def check_unknown_value_is_refused_with_the_list(self) -> None:
        image = self.create_rescue_image(hw_rescue_bus="usb", hw_rescue_memory="all")
        self.assert_refused("allowed are none, dump", image=image)

    def check_server_may_be_too_large(self) -> None:
        self.useFixture(Option(memory_dump_max_size=1))
        with mock.patch(
            "stable_rescue.domain.memory.size_of", return_value=3 * 1024**3 // 2
        ):
            self.assert_refused("has 1.5 GiB of memory", "dumps of up to 1 GiB")

    def check_host_may_have_no_space(self) -> None:
        with mock.patch("stable_rescue.domain.memory.size_of", return_value=2**50):
            self.useFixture(Option(memory_dump_max_size=0))
            self.assert_refused("cannot store a dump of the server's memory")

    def check_folder_may_be_missing(self) -> None:
        self.useFixture(Option(memory_dump_path=str(self.dumps / "none")))
        self.assert_refused("cannot store a dump of the server's memory")

    def check_folder_may_be_open_to_others(self) -> None:
        self.dumps.chmod(0o777)
        self.assert_refused("cannot store a dump of the server's memory")
        self.dumps.chmod(0o700)


class StoppedServerTest(DumpTestBase):
    def test_stopped_server_has_no_memory_to_dump(self) -> None:
        self._stop_server(self.server)
        self.assert_refused("is not running, so it has no memory", status="SHUTOFF")

    def test_guest_that_ends_while_its_rescue_is_prepared_is_refused(self) -> None:
        confirm = self.driver.confirm_rescue

        def confirm_late(*args: Any) -> None:
            self.domain().destroy()
            confirm(*args)

        with mock.patch.object(self.driver, "confirm_rescue", confirm_late):
            text = self.error_of(self.rescue, self.server, self.image)
        self.assertIn("is not running, so it has no memory", text)
        self.assertFalse(self.domain().isActive())
        self.assertEqual([], self.dump_files())
