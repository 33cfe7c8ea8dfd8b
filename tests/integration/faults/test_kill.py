# SPDX-License-Identifier: Apache-2.0
"""SIGKILL of nova-compute at each point of a rescue and an unrescue.

Libvirt and QEMU are real, and so is the kill. The guests have no system to boot.
"""

import os
import signal
from collections import Counter

import libvirt
from nova.compute import vm_states

from tests import tally
from tests.integration.faults import server

Place = tuple[str, int]


class KillTestBase(server.ServerTestBase):
    """A nova-compute that dies in an action."""

    action: str

    def get_ready(self) -> None:
        if self.action == "unrescue":
            self.act("rescue")

    def be_itself(self) -> None:
        if self.compute.database.read()["vm_state"] == vm_states.RESCUED:
            self.act("unrescue")
        self.assert_itself()

    def places(self) -> list[Place]:
        """Return the places that are reached where nothing fails."""
        self.get_ready()
        log = self.scene.folder.parent / "points.log"

        def note(point: str) -> None:
            with log.open("a") as stream:
                stream.write(f"{point}\n")

        self.act(self.action, note)
        self.be_itself()
        seen: Counter[str] = Counter()
        found = []
        for point in log.read_text().splitlines():
            seen[point] += 1
            found.append((point, seen[point]))
        last = len(found) - 1
        return [
            place
            for number, place in enumerate(found)
            # Behind a step is before the next.
            if not place[0].startswith("after ") or number == last
        ]

    def kill_at(self, place: Place) -> None:
        """Try one cell of the matrix.

        :raises AssertionError: where the server is between, or something is left
        """
        self.get_ready()
        seen: Counter[str] = Counter()

        def kill(point: str) -> None:
            seen[point] += 1
            if (point, seen[point]) == place:
                os.kill(os.getpid(), signal.SIGKILL)

        code, said = self.compute.act(self.action, kill)
        self.assertEqual(-signal.SIGKILL, code, said[-3000:])
        self.act("restart")
        self.assert_at_rest()
        self.be_itself()


class Kills:
    def test_sigkill(self) -> None:
        row = f"{self.action}, guest {'running' if self.running else 'stopped'}"
        row += ", UEFI" if self.firmware == "uefi" else ""
        lost = []
        for place in self.places():
            try:
                self.kill_at(place)
            except (AssertionError, libvirt.libvirtError) as exc:
                lost.append(f"{place}: {exc}")
                tally.count(f"QEMU: {row}", "SIGKILL", place, recovered=False)
                break  # the server is not as the next cell needs it
            tally.count(f"QEMU: {row}", "SIGKILL", place, recovered=True)
        self.assertEqual([], lost)


class RescueOfRunningTest(Kills, KillTestBase):
    action, running = "rescue", True


class RescueOfStoppedTest(Kills, KillTestBase):
    action, running = "rescue", False


class UnrescueOfRunningTest(Kills, KillTestBase):
    action, running = "unrescue", True


class UnrescueOfStoppedTest(Kills, KillTestBase):
    action, running = "unrescue", False


class RescueOfUefiTest(Kills, KillTestBase):
    """Of a guest that runs, its own firmware writes its variables, too."""

    action, running, firmware = "rescue", False, "uefi"


class UnrescueOfUefiTest(Kills, KillTestBase):
    action, running, firmware = "unrescue", False, "uefi"
