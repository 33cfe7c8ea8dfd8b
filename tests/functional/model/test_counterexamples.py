# SPDX-License-Identifier: Apache-2.0
"""Counterexamples that the model has found, as ordinary tests."""

from tests.functional.model.messages import Fate
from tests.functional.model.replay import ReplayTestBase


class CounterexampleTest(ReplayTestBase):
    def test_refused_rescue_ends_the_error_of_an_earlier_one(self) -> None:
        """The second rescue recovers the server from the first, and is refused."""
        for place in (32, 33, 34):
            self.replay(
                ("rescue", "disk full", 30),
                ("rescue", "disk full", place),
                "service restarts",
            )

    def test_late_rescue_of_a_deleted_server_leaves_nothing(self) -> None:
        self.replay(("rescue", Fate.LATE), "delete", "messages arrive", "time passes")

    def test_stock_unrescue_after_host_boot_uses_new_paths(self) -> None:
        """The record still has the volume's path from before the boot."""
        self.replay("stock rescue", "host boots", "service restarts", "unrescue")

    def test_late_rescue_of_an_evacuated_server_starts_nothing(self) -> None:
        """The server has been asked to rescue on its new host as well."""
        self.replay(
            ("rescue", Fate.LATE),
            "time passes",
            "evacuated",
            "service restarts",
            "rescue",
            "messages arrive",
            "service restarts",
        )

    def test_volume_detached_late_stays_detached_after_unrescue(self) -> None:
        for rescue in ("rescue", "stock rescue"):
            for device in ("volume", "port"):
                self.replay(
                    f"attach or detach {device}",
                    (f"attach or detach {device}", Fate.LATE),
                    rescue,
                    "messages arrive",
                    "service restarts",
                    "unrescue",
                )

    def test_port_attached_after_an_interrupted_trial_stays(self) -> None:
        """libvirt is lost while the rescue definition is tried out."""
        for place in (18, 19):
            self.replay(
                ("rescue", "libvirt lost", place),
                "attach or detach port",
                "service restarts",
                "unrescue",
            )

    def test_error_of_an_earlier_rescue_ends_after_a_failed_recovery(self) -> None:
        """The second rescue and the recovery at the start fail as well."""
        self.replay(
            ("rescue", "libvirt lost", 27),
            ("rescue", "libvirt lost", 17),
            "host boots",
            ("service restarts", "exception", 18),
            "service restarts",
            "time passes",
        )

    def test_guest_that_nova_has_undefined_is_defined_again(self) -> None:
        """Nova's hard reboot loses libvirt, and leaves the server ACTIVE."""
        for repair in ("hard reboot", "rescue"):
            self.replay(
                ("hard reboot", "libvirt lost", 3),
                "time passes",
                repair,
                "service restarts",
                "unrescue",
            )

    def test_rescue_stopped_in_error_by_nova_ends_with_the_start(self) -> None:
        """The operator sets the server to ERROR under Nova's driver."""
        self.replay(
            "driver switched",
            "rescue",
            "reset to error",
            "stop",
            "driver switched",
            "time passes",
            "start",
        )
        self.assertEqual([], self.files(self.server))

    def test_rescue_that_was_stopped_in_error_is_ended(self) -> None:
        for rescue in ("rescue", "stock rescue"):
            self.replay(rescue, "reset to error", "stop", "time passes")
            self.assertEqual("SHUTOFF", self.status())
            self.assert_restored(running=False)
            self.replay(rescue, "reset to error", "stop", "time passes", "start")

    def test_error_by_operator_after_a_failed_rescue_stays(self) -> None:
        """A hard reboot has ended the ERROR that nova-compute had set."""
        self.replay(
            ("rescue", "disk full", 30),
            "hard reboot",
            "time passes",
            "reset to error",
            "time passes",
            "service restarts",
        )
        self.assertEqual("ERROR", self.status())
