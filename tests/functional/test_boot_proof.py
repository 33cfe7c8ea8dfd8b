# SPDX-License-Identifier: Apache-2.0
"""What users and operators read if the firmware does not boot the rescue disk.

Nova's libvirt fixture counts nothing, so the counters are made up here. In the
integration tests, real firmware boots.
"""

from typing import Any

import fixtures
from nova import exception as nova_exception

from stable_rescue.virt import boot_proof, phase
from tests.functional.server import ServerTestBase

_MIB = 2**20
_VERIFY = "compute_rescue_verify"


class BootProofTest(ServerTestBase):
    def setUp(self) -> None:
        super().setUp()
        self.flags(verify_timeout=60, group="stable_rescue")
        self.useFixture(fixtures.MockPatchObject(boot_proof, "_POLL_SECONDS", 0.01))
        self.log = self.useFixture(fixtures.FakeLogger())
        self.seconds = 0.0
        self.useFixture(
            fixtures.MockPatchObject(self.driver._boots, "_clock", lambda: self.seconds)
        )
        # What the guest has read of each disk; the rescue disk is sda.
        self.read = {"sda": 512, "vda": 512}
        self.useFixture(
            fixtures.MockPatchObject(self.driver, "block_stats", self.block_stats)
        )

    def block_stats(self, instance: Any, target: str) -> list[int] | None:
        read = self.read.get(target)
        return None if read is None else [1, read, 0, 0, 0]

    def wait_for_decision(self) -> None:
        """Wait until no guest is watched, and every event is written."""
        boots = self.driver._boots
        boots._workers.submit(lambda: None).result(60)
        self.assertEqual({}, boots._boots)
        phase._writer.submit(lambda: None).result(60)

    def verify_event(self) -> dict[str, Any]:
        (event,) = (e for e in self.events(self.server) if e["event"] == _VERIFY)
        return event

    def test_rescue_disk_that_is_read_is_a_success(self) -> None:
        self.rescue_server()
        self.read["sda"] = 12 * _MIB
        self.wait_for_decision()
        self.assertEqual("Success", self.verify_event()["result"])
        self.assertIn("has read 12288 KiB of its disk", self.log.output)

    def test_unread_rescue_disk_is_a_fault_after_the_timeout(self) -> None:
        self.rescue_server()
        self.seconds = 59.0
        self.assertNotIn(_VERIFY, [e["event"] for e in self.events(self.server)])
        self.seconds = 60.0
        self.wait_for_decision()
        event = self.verify_event()
        self.assertEqual("Error", event["result"])
        self.assertIn("0 KiB of the rescue disk", event["details"])
        self.assertIn("did not boot within 60 seconds", self.log.output)
        self.assert_rescued()

    def test_other_disk_that_is_booted_is_a_fault_at_once(self) -> None:
        self.rescue_server()
        self.read["vda"] = 12 * _MIB
        self.wait_for_decision()
        self.assertIn("booted vda instead", self.verify_event()["details"])

    def test_unrescue_ends_the_watch_without_a_result(self) -> None:
        self.rescue_server()
        self.unrescue_server()
        self.wait_for_decision()
        self.assertNotIn(_VERIFY, [e["event"] for e in self.events(self.server)])

    def test_delete_ends_the_watch(self) -> None:
        self.rescue_server()
        self._delete_server(self.server)
        self.wait_for_decision()

    def test_guest_that_is_off_ends_the_watch_without_a_result(self) -> None:
        self.rescue_server()
        self.read.clear()
        self.wait_for_decision()
        self.assertNotIn(_VERIFY, [e["event"] for e in self.events(self.server)])

    def test_watch_that_is_disabled_asks_nothing(self) -> None:
        self.flags(verify_timeout=0, group="stable_rescue")
        self.rescue_server()
        self.assertEqual({}, self.driver._boots._boots)

    def test_lost_libvirt_ends_the_watch_without_a_result(self) -> None:
        self.useFixture(
            fixtures.MockPatchObject(
                self.driver,
                "block_stats",
                side_effect=nova_exception.HypervisorUnavailable(),
            )
        )
        self.rescue_server()
        self.wait_for_decision()
        self.assertNotIn(_VERIFY, [e["event"] for e in self.events(self.server)])
        self.assertIn("Could not verify the boot", self.log.output)
