# SPDX-License-Identifier: Apache-2.0
"""The model: what may happen to a server, and what its status is then."""

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from tests.functional.faults.strikes import FAULTS
from tests.functional.model.invariants import check
from tests.functional.model.messages import Fate
from tests.functional.model.world import LONG, Interference, WorldTestBase

#: The status that each request leads to, by the status in which it is accepted. "was"
#: is the status from before the rescue.
OUTCOMES: dict[str, dict[str, str]] = {
    "rescue": {"ACTIVE": "RESCUE", "SHUTOFF": "RESCUE", "ERROR": "RESCUE"},
    "unrescue": {"RESCUE": "was"},
    "stop": {"ACTIVE": "SHUTOFF", "ERROR": "SHUTOFF"},
    "start": {"SHUTOFF": "ACTIVE"},
    "soft reboot": {"ACTIVE": "ACTIVE"},
    "hard reboot": {"ACTIVE": "ACTIVE", "SHUTOFF": "ACTIVE", "ERROR": "ACTIVE"},
    "delete": dict.fromkeys(("ACTIVE", "SHUTOFF", "RESCUE", "ERROR"), "DELETED"),
    "reset to error": dict.fromkeys(("ACTIVE", "SHUTOFF", "ERROR"), "ERROR"),
}
OUTCOMES["stock rescue"] = OUTCOMES["rescue"]

#: About how many places each step reaches, for those in which faults strike.
PLACES = {"rescue": 34, "unrescue": 22, "service restarts": 20}
REQUESTS = [*OUTCOMES, "rescue", "unrescue"]
EVENTS = ["service restarts", "service restarts", "time passes", "host boots"]


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
        check(self.world, "ACTIVE")

    def is_up(self) -> bool:
        """Return True if nova-compute runs."""
        return not self.world.messages.is_down

    def has_late(self) -> bool:
        """Return True if messages are late and nova-compute runs."""
        return self.is_up() and bool(self.world.messages.late)

    def options(self) -> list[str]:
        """Return what may happen next; the more often, the more likely."""
        if not self.is_up():
            return [*["service restarts"] * 20, "host boots", *REQUESTS]
        if not self.is_certain:
            return [*REQUESTS, *EVENTS * 3, *["messages arrive"] * 12 * self.has_late()]
        accepted = [name for name in REQUESTS if self.expected & OUTCOMES[name].keys()]
        return [*REQUESTS, *EVENTS * 3, *accepted * 3, *["rescue", "unrescue"] * 4]

    @rule(data=st.data())
    def step(self, data: Any) -> None:
        """Let one of the options happen, and check the server."""
        self.is_sound = False
        name = data.draw(st.sampled_from(self.options()), "step")
        interference, fate = None, Fate.DELIVERED
        if name in PLACES and data.draw(st.integers(0, 2), "disturbed"):
            place = data.draw(st.integers(1, PLACES[name]), "place")
            interference = Interference(data.draw(st.sampled_from([*FAULTS])), place)
        elif name in ("rescue", "unrescue"):
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
        is_stock_rescued = self.is_stock and "RESCUE" in self.expected
        match name:
            case "host boots":
                # Neither driver connects the volumes of a stock rescue again (U16).
                if not is_stock_rescued:
                    world.reboot_host()
                    self.is_certain = False
            case "time passes":
                world.pass_time(LONG)
                self.expect_recovery(time_passed=True)
            case "messages arrive":
                world.messages.deliver_late()
                world.notice_kill()
            case "service restarts":
                _, struck = world.disturb(interference, world.try_to_restart)
                self.expect_recovery(struck)
            case "rescue" | "stock rescue":
                self.rescue(name, interference, fate)
            case "soft reboot" | "hard reboot":
                kind = name.removesuffix(" reboot").upper()
                self.request(name, world.compute_api.reboot, kind, at=interference)
            case "reset to error":
                # What a rescued server is then is up to the operator.
                if self.is_certain and "RESCUE" not in self.expected:
                    self.request(name, world.reset_to_error)
            case _:
                call = getattr(world.compute_api, name)
                self.request(name, call, at=interference, fate=fate)

    def rescue(self, name: str, interference: Interference | None, fate: Fate) -> None:
        """Rescue the server."""
        before = self.expected & {"ACTIVE", "SHUTOFF"}
        if "ERROR" in self.expected:
            # Only the guest says what the server was before.
            before = {"ACTIVE", "SHUTOFF"}
        image = self.world.images[name]
        call = self.world.compute_api.rescue
        if self.request(name, call, None, image, at=interference, fate=fate):
            self.was = before | (set() if self.is_certain else self.was)
            if not self.is_certain:
                self.expected |= before
            self.is_stock = name == "stock rescue" or (
                self.is_stock and not self.is_certain
            )

    def request(
        self,
        name: str,
        call: Callable[..., Any],
        *args: Any,
        at: Interference | None = None,
        fate: Fate = Fate.DELIVERED,
    ) -> bool:
        """Send a request, and note what may have become of the server.

        :returns: True if the API has accepted the request
        """
        outcomes = OUTCOMES[name]
        accepted, struck = self.world.disturb(
            at, lambda: self.world.ask(call, *args, fate=fate)
        )
        is_right = bool(self.expected & outcomes.keys())
        if self.is_certain and not struck and accepted is not is_right:
            raise AssertionError(
                f"{name} was {'accepted' if accepted else 'refused'} in {self.expected}"
            )
        if not accepted:
            return False
        from_error = set() if self.is_certain else {"ERROR"}
        targets = {outcomes.get(status) for status in self.expected | from_error}
        targets -= {None}
        if "was" in targets:
            targets = targets - {"was"} | self.was
            if self.is_stock:
                # Nova starts a stopped server (U18).
                targets.add("ACTIVE")
        # Recovery leaves a server alone that an operator has set to ERROR.
        was_error = "ERROR" in self.expected
        if struck or was_error or fate is not Fate.DELIVERED or not self.is_up():
            self.is_certain = False
        self.expected = targets if self.is_certain else self.expected | targets
        return True

    def expect_recovery(self, struck: bool = False, time_passed: bool = False) -> None:
        """Expect that the server is recovered, unless there was another fault."""
        # A task may be left to a message that nova-compute still expects.
        has_task = not time_passed and self.world.has_task()
        self.is_certain = (
            not struck and not has_task and not self.has_late() and self.is_up()
        )

    def check(self) -> None:
        """Check all that must hold if the status is certain."""
        if not self.is_certain:
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
        self.world.try_to_restart()
        if self.world.messages.late:
            self.world.messages.deliver_late()
            self.world.try_to_restart()
        self.world.pass_time(LONG)
        self.expect_recovery(time_passed=True)
        self.check()
