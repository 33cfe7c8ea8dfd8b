# SPDX-License-Identifier: Apache-2.0
"""The model: what may happen to a server, and what its status is then."""

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from stable_rescue.compute.states import INTERRUPTED
from tests.functional.faults.strikes import FAULTS
from tests.functional.model.invariants import check, check_evacuated
from tests.functional.model.messages import Fate
from tests.functional.model.outcomes import (
    AFTER_FAULT,
    ASYNCHRONOUS,
    DEVICES,
    EVENTS,
    NOVA,
    OUTCOMES,
    PLACES,
    SLOW,
    UNCHANGING,
)
from tests.functional.model.world import LONG, Interference, WorldTestBase


class Life(RuleBasedStateMachine):
    """The life of a server, with faults between and in the middle of operations.

    ``expected`` holds each status that the server may have. While the status is
    certain, there is one, and all invariants must hold. After a fault, a kill or a
    message that is late, the server may be restored or rescued. The status is certain
    again once nova-compute was restarted, or has had the time to find what is stalled.
    """

    def __init__(self, world: WorldTestBase) -> None:
        super().__init__()
        self.world = world
        self.history: list[str] = []
        self.is_sound = True
        self.renew()

    def renew(self) -> None:
        """Begin the life of another server."""
        self.world.begin()
        self.expected = {"ACTIVE"}
        self.was = {"ACTIVE"}
        self.is_stock = False
        self.is_certain = True
        self.is_evacuated = False
        check(self.world, "ACTIVE")

    def is_up(self) -> bool:
        """Return True if nova-compute runs."""
        return not self.world.messages.is_down

    def has_late(self) -> bool:
        """Return True if messages are late and nova-compute runs."""
        return self.is_up() and bool(self.world.messages.late)

    def options(self) -> list[str]:
        """Return what may happen next; the more often, the more likely."""
        late = ["messages arrive"] * self.has_late()
        if self.is_evacuated:
            return ["rescue", *["service restarts"] * 4, "time passes", *late * 4]
        if self.world.is_switched():
            requests = [*OUTCOMES, *["rescue", "unrescue"] * 4]
            if self.world.status() == "ERROR":
                # A second rescue overwrites the original definition (U8).
                requests = [name for name in requests if "rescue" not in name]
            return [*requests, *["driver switched"] * 12]
        if not self.is_up():
            rest = ["host boots", "driver switched", *["evacuated"] * 4]
            return [*["service restarts"] * len(OUTCOMES), *rest, *OUTCOMES]
        always = [*OUTCOMES, *EVENTS, *["rescue", "unrescue"] * 6]
        if not self.is_certain:
            return [*always, *EVENTS * 3, *late * len(always)]
        accepted = [
            name
            for name, outcomes in OUTCOMES.items()
            if name not in SLOW and self.expected & outcomes.keys()
        ]
        return [*always, *accepted * 2, *["rescue", "unrescue"] * 3]

    @rule(data=st.data())
    def step(self, data: Any) -> None:
        """Let one of the options happen, and check the server."""
        self.is_sound = False
        name = data.draw(st.sampled_from(self.options()), "step")
        interference, fate = None, Fate.DELIVERED
        is_stable = not self.world.is_switched()
        if is_stable and name in PLACES and data.draw(st.integers(0, 2), "disturbed"):
            place = data.draw(st.integers(1, PLACES[name]), "place")
            interference = Interference(data.draw(st.sampled_from([*FAULTS])), place)
        elif is_stable and name in ASYNCHRONOUS:
            fate = data.draw(st.sampled_from([*Fate]), "fate")
        self.history.append(f"{name}, {interference}, {fate.value}")
        try:
            self.happen(name, interference, fate)
            self.check()
        except Exception as error:
            error.add_note("\n".join(["The steps were:", *self.history]))
            raise
        self.is_sound = True

    def happen(self, name: str, interference: Interference | None, fate: Fate) -> None:
        """Let something happen to the server."""
        world = self.world
        match name:
            case "host boots":
                world.reboot_host()
                self.is_certain = False
            case "evacuated":
                world.reboot_host()
                self.is_certain = False
                self.is_evacuated = self.is_evacuated or world.evacuate()
            case "time passes":
                world.pass_time(LONG)
                self.expect_recovery(time_passed=True)
            case "messages arrive":
                world.messages.deliver_late()
                world.notice_kill()
            case "service restarts" | "driver switched":
                if name == "driver switched":
                    world.switch_driver()
                # Recovery at the start leaves an instance to another task.
                is_busy = self.is_in_other_task()
                _, struck = world.disturb(name, interference, world.try_to_restart)
                self.expect_recovery(struck or is_busy)
            case "rescue times out":
                self.time_out(interference)
            case "rescue" | "stock rescue":
                self.rescue(name, interference, fate)
            case _:
                self.request(name, interference, fate)

    def rescue(self, name: str, interference: Interference | None, fate: Fate) -> None:
        """Rescue the server."""
        before = self.expected & {"ACTIVE", "SHUTOFF"}
        if "ERROR" in self.expected:
            # Only the guest says what the server was before.
            before = {"ACTIVE", "SHUTOFF"}
        if self.world.is_switched():
            # A volume that is detached late comes back with unrescue (U36).
            self.world.messages.late.clear()
        if self.request(name, interference, fate):
            self.was = before | (set() if self.is_certain else self.was)
            if not self.is_certain:
                self.expected |= before
            self.is_stock = name == "stock rescue" or (
                self.is_stock and not self.is_certain
            )

    def request(
        self, name: str, at: Interference | None = None, fate: Fate = Fate.DELIVERED
    ) -> bool:
        """Send a request, and note what may have become of the server.

        :returns: True if the API has accepted the request
        """
        if self.world.lacks_definition():
            self.is_certain = False
        request = self.world.requests[name]
        accepted, struck = self.world.disturb(
            name, at, lambda: self.world.ask(request, fate=fate)
        )
        is_right = bool(self.expected & OUTCOMES[name].keys())
        if self.is_certain and not struck and accepted is not is_right:
            raise AssertionError(
                f"{name} was {'accepted' if accepted else 'refused'} in {self.expected}"
            )
        self.world.is_damaged |= struck and name in NOVA
        if accepted:
            self.note(name, struck or fate is not Fate.DELIVERED or not self.is_up())
        return bool(accepted)

    def time_out(self, interference: Interference | None) -> None:
        """Let nova-compute end the rescue because it has lasted too long."""
        world = self.world
        if self.is_up():
            _, struck = world.disturb(
                "rescue times out", interference, world.end_overdue_rescue
            )
            world.notice_kill()
            if "RESCUE" in self.expected or not self.is_certain:
                self.note("unrescue", struck or not self.is_up())

    def note(self, name: str, is_disturbed: bool) -> None:
        """Note what may have become of the server after a request.

        :param is_disturbed: a fault has struck, or the message has not arrived
        """
        if name in (*DEVICES, "rebuild"):
            self.world.before = None
        if name in (*NOVA, "restore"):
            self.world.expect_new_definition()
        if name == "reset to error" and not self.may_change_error():
            self.expected = {"ERROR"}
            return
        if name in UNCHANGING:
            self.is_certain = self.is_certain and not is_disturbed
            return
        # Recovery leaves a server alone that an operator has set to ERROR.
        from_error = set() if self.is_certain else {"ERROR"}
        was_error = "ERROR" in self.expected
        self.world.was_stopped_in_error |= was_error and name == "stop"
        targets = {OUTCOMES[name].get(status) for status in self.expected | from_error}
        targets -= {None}
        if "was" in targets:
            targets = targets - {"was"} | self.was
            if self.is_stock:
                # Nova starts a stopped server (U18).
                targets.add("ACTIVE")
        # A server that was deleted while it was rescued still has the record.
        is_restored = name == "restore"
        if is_disturbed or was_error or is_restored or self.world.is_switched():
            self.is_certain = False
        if name in NOVA and not self.is_certain:
            targets |= AFTER_FAULT
        self.expected = targets if self.is_certain else self.expected | targets

    def may_change_error(self) -> bool:
        """Return True if a server that an operator sets to ERROR may not stay so."""
        # Nova does what a late message asks for. Recovery ends an ERROR that
        # nova-compute has set.
        return bool(self.world.messages.late) or self.world.has_failed()

    def expect_recovery(self, struck: bool = False, time_passed: bool = False) -> None:
        """Expect that the server is recovered, unless there was another fault."""
        self.is_certain = (
            not struck
            and not self.has_late()
            and self.is_up()
            and not self.world.is_switched()
            and not self.has_task(time_passed)
        )

    def is_in_other_task(self) -> bool:
        """Return True if the server is in a task that is no rescue or unrescue."""
        instance = self.world.find()
        return instance is not None and instance.task_state not in (None, *INTERRUPTED)

    def has_task(self, time_passed: bool) -> bool:
        """Return True if the server may be in a task, once Nova has looked at it."""
        self.world.synchronize_power_state()
        instance = self.world.find()
        if instance is None or self.is_evacuated:
            return False
        if instance.task_state in INTERRUPTED:
            # nova-compute may still expect the message for the task.
            return not time_passed
        # Nova leaves some of its other tasks unfinished.
        return instance.task_state is not None

    def check(self) -> None:
        """Check all that must hold if the status is certain."""
        if not self.is_certain:
            return
        if self.is_evacuated:
            check_evacuated(self.world)
            self.renew()
            return
        status = self.world.status()
        if status not in self.expected:
            raise AssertionError(f"{status} instead of {self.expected}")
        self.expected = {status}
        check(self.world, status)
        if status == "DELETED":
            self.renew()

    def teardown(self) -> None:
        """Restart nova-compute and deliver what is late: the status is certain then."""
        if self.is_certain or not self.is_sound:
            return
        if self.world.is_switched():
            self.world.switch_driver()
        self.world.try_to_restart()
        if self.world.messages.late:
            self.world.messages.deliver_late()
            self.world.try_to_restart()
        self.world.pass_time(LONG)
        self.expect_recovery(time_passed=True)
        self.check()
