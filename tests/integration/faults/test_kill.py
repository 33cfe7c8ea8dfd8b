# SPDX-License-Identifier: Apache-2.0
"""SIGKILL of nova-compute at each point of a rescue and an unrescue.

Libvirt and QEMU are real, and so is the kill. The guests have no system to boot.
"""

import hashlib
import os
import signal
import subprocess
from collections import Counter
from collections.abc import Callable
from typing import Any

import libvirt
from nova.compute import vm_states

from stable_rescue.domain import recognise
from stable_rescue.domain.document import Domain
from tests import tally
from tests.integration import base
from tests.integration.faults import compute
from tests.integration.scene import MIB, Scene

Place = tuple[str, int]
# One partition that may be booted, from sector 1 on.
_MBR = bytes(446) + b"\x80\0\2\0\x83\0\3\0\1\0\0\0\x10\0\0\0" + bytes(48)
_MBR += b"\x55\xaa"


class KillTestBase(base.TestCase):
    """A server, as it was, and a nova-compute that dies."""

    action: str
    running: bool

    def setUp(self) -> None:
        super().setUp()
        instances = base.new_folder(self.addCleanup)
        scene = Scene(instances, "q35")
        scene.folder = instances / scene.uuid
        scene.folder.mkdir()
        self._make_disks(scene)
        self.scene, self.server = scene, base.Server(scene)
        self.addCleanup(self.server.remove)
        image = instances / "rescue.img"
        image.write_bytes(_MBR + bytes(MIB - len(_MBR)))
        self.compute = compute.Compute(instances, scene.uuid, image)
        self.status = vm_states.ACTIVE if self.running else vm_states.STOPPED
        self.power = compute.RUNNING if self.running else compute.SHUTDOWN
        if self.running:
            self.server.start()
        self.compute.database.write(
            vm_state=self.status, task_state=None, power_state=self.power
        )
        self.before = self.observed()

    def _make_disks(self, scene: Scene) -> None:
        names = ["disk.eph0", "disk.swap", "disk.config"]
        paths = [scene.folder / name for name in names]
        for path in [*paths, *(scene.volume(number) for number in range(1, 7))]:
            path.write_bytes(os.urandom(MIB))
        create = ["qemu-img", "create", "-q", "-f", "qcow2", scene.folder / "disk"]
        subprocess.run([*create, "64M"], check=True)

    def observed(self) -> dict[str, Any]:
        """Return all that a rescue may not change of a server."""
        domain = self.server.domain
        files = {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(self.scene.folder.iterdir())
            if path != self.scene.console
        }
        return {
            "definition": base.definition(domain),
            "running": bool(domain.isActive()),
            "files": files,
            "secrets": self.connection.listSecrets(),
        }

    def assert_at_rest(self) -> None:
        row = self.compute.database.read()
        self.assertIsNone(row["task_state"])
        if row["vm_state"] != vm_states.RESCUED:
            self.assert_itself()
            return
        self.assertTrue(self.server.domain.isActive())
        rescue = Domain.parse(self.server.domain.XMLDesc(0))
        self.assertIsNotNone(recognise.rescue_disk(rescue))

    def assert_itself(self) -> None:
        self.assertEqual(
            {
                "vm_state": self.status,
                "task_state": None,
                "power_state": self.power,
            },
            self.compute.database.read(),
        )
        self.assertEqual(self.before, self.observed())

    def act(self, action: str, observe: Callable[[str], None] | None = None) -> None:
        """Do an action that has to succeed."""
        code, said = self.compute.act(action, observe)
        self.assertEqual(0, code, said[-3000:])

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
