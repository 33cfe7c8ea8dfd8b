# SPDX-License-Identifier: Apache-2.0
"""Chaos, played in the sandbox.

Arguments: state folder, original disk, rescue disk, number of runs, seed, victims.
Rescue systems are as large as real ones of the lab and do not boot: it is looked at
from the host, and emulating their boots would take most of the time.
"""

from __future__ import annotations

import contextlib
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import openstack

from lab.chaos import report, victims
from lab.chaos.disks import Marks
from lab.chaos.fleet import (
    FAILURES,
    SHUTDOWN_SECONDS,
    Asked,
    ChaosServer,
    Fleet,
    upload,
)
from lab.chaos.host import Host
from lab.chaos.judge import Outcome, Verdict, View, extra_things, judge
from lab.chaos.report import Entry
from lab.chaos.schedule import Run, schedule
from lab.config import Lab
from lab.demo.stage import MICROVERSION
from lab.errors import LabError
from lab.runner import Clock
from stable_rescue.tempest.guest.comparison import compare

#: A dead service may take a request with it, so none is waited for longer.
REQUEST_SECONDS = 60
NOVA_COMPUTE = "nova-compute"
#: The servers: what the root is on, and whether it runs before it is rescued.
KINDS = {
    "image": ("image", True),
    "volume": ("volume", True),
    "stopped": ("image", False),
}


class Chaos:
    """The servers, the host, and what has happened so far."""

    def __init__(self, lab: Lab, fleet: dict[str, ChaosServer], clock: Clock) -> None:
        self.fleet, self.clock = fleet, clock
        self.host, self.killer = Host(lab), victims.Killer(lab)
        self.things = self.host.things()
        self.views = {name: server.view() for name, server in fleet.items()}
        self.entries: list[Entry] = []

    def run(self, run: Run) -> None:
        """Play one run, judge it, and have the server whole again for the next."""
        server = self.fleet[run.server]
        before = self.views[run.server]
        action = "unrescue" if before.status == "RESCUE" else "rescue"
        began = time.monotonic()
        asked = Asked(lambda: server.ask(action))
        moment = run.moment * server.seconds[action]
        time.sleep(max(0.0, began + moment - time.monotonic()))
        phase = f"{action}, {self.host.phase(server.id)}"
        self.killer.kill(run.victim, f"{run.number:03}-{run.victim}")
        time.sleep(run.pause)
        started = time.monotonic()
        self.killer.revive(run.victim)
        asked.join(REQUEST_SECONDS * 2)
        server.at_rest()
        seconds = time.monotonic() - started
        now = self.views[run.server] = server.view()
        extra = self._extra()
        verdict = judge(server.itself, before, now, extra)
        self.entries.append(Entry(run.victim, phase, verdict, seconds))
        self.clock.say(
            f"run {run.number}: {action} of {run.server}, kill -9 {run.victim} after"
            f" {moment:.1f} s ({phase}): {verdict.outcome}, {seconds:.1f} s after its"
            f" start" + (f"; the API: {asked.refusal}" if asked.refusal else "")
        )
        self._tell(verdict)
        self.things |= extra  # what is left is counted once
        if verdict.outcome is Outcome.LOST:
            self.views[run.server] = self._repair(server)

    def finish(self) -> list[str]:
        """Bring every server back; return what is not as it was at the beginning."""
        faults = []
        for name, server in self.fleet.items():
            before = server.view()
            if before.status == "RESCUE":
                server.ask("unrescue")
                server.reach(server.itself.status)
            now = self.views[name] = server.view()
            verdict = judge(server.itself, before, now, self._extra())
            found = (*verdict.faults, *verdict.leftovers)
            faults += [f"{name}: {one}" for one in found]
        for name, server in self.fleet.items():
            if not server.itself.running:
                server.act("os-start")
                server.reach("ACTIVE")
            changed = compare(server.inventory, server.await_inventory())
            moved = [c for c in changed.originals if c.disturbed] + list(
                changed.appeared
            )
            faults += [f"{name}: in the guest: {one}" for one in moved]
        return faults

    def _extra(self) -> frozenset[str]:
        rescued = frozenset(
            self.fleet[name].id
            for name, view in self.views.items()
            if view.status == "RESCUE"
        )
        return extra_things(self.things, self.host.things(), rescued)

    def _tell(self, verdict: Verdict) -> None:
        for fault in verdict.faults:
            self.clock.say(f"  fault: {fault}")
        for thing in verdict.leftovers:
            self.clock.say(f"  left: {thing}")

    def _repair(self, server: ChaosServer) -> View:
        """Do what the manual says for a server that is lost: start nova-compute."""
        self.clock.say(f"  starting {NOVA_COMPUTE} again for {server.name}")
        self.killer.report(NOVA_COMPUTE)
        self.killer.kill(NOVA_COMPUTE, f"lost-{len(self.entries):03}")
        self.killer.revive(NOVA_COMPUTE)
        server.at_rest()
        view = server.view()
        self._tell(judge(server.itself, view, view, self._extra()))
        self.clock.say(f"  {server.name} is {view.status} now")
        return view


def prepare(servers: dict[str, ChaosServer], clock: Clock) -> None:
    """Mark the disks, take inventories, and see how long a rescue takes.

    :raises LabError: where that fails with nothing killed yet
    """
    for number, server in enumerate(servers.values()):
        server.reach("ACTIVE")
        server.reboot()
        server.reach("ACTIVE")
        server.domain = server.now()["OS-EXT-SRV-ATTR:instance_name"]
        # A cold boot by libvirt, so that no name in the guest changes later.
        server.host.virsh("destroy", server.domain)
        definition = server.host.definition(server.domain)
        server.marks = Marks(definition, 1 + 16 * number)
        server.marks.write()
        server.host.virsh("start", server.domain)
    clock.say("servers made, their disks marked")
    for server in servers.values():
        server.inventory = server.await_inventory()
    clock.say("guests booted")
    for name, server in servers.items():
        if not KINDS[name][1]:
            server.act("os-stop")
            server.reach("SHUTOFF")
        server.itself = server.view()
        for action, status in (
            ("rescue", "RESCUE"),
            ("unrescue", server.itself.status),
        ):
            began = time.monotonic()
            server.ask(action)
            server.reach(status)
            server.seconds[action] = time.monotonic() - began
        view = server.view()
        verdict = judge(server.itself, view, view, frozenset())
        if verdict.faults or verdict.leftovers:
            raise LabError(f"{name}, undisturbed: {verdict}")
        clock.say(
            f"{name}, undisturbed: rescue in {server.seconds['rescue']:.1f} s,"
            f" unrescue in {server.seconds['unrescue']:.1f} s"
        )


def play(lab: Lab, images: Sequence[str], runs: int, seed: int, names: str) -> bool:
    """Play all runs and print the report; return whether all is well."""
    clock = Clock()
    plan = schedule(seed, runs, tuple(KINDS), victims.chosen(names))
    cloud = openstack.connect(api_timeout=REQUEST_SECONDS)
    cloud.compute.default_microversion = MICROVERSION
    with contextlib.ExitStack() as undo:
        own = upload(
            cloud,
            undo,
            Path(images[0]),
            hw_machine_type="q35",
            os_shutdown_timeout=str(SHUTDOWN_SECONDS),
        )
        noise = Path(undo.enter_context(tempfile.TemporaryDirectory(dir=lab.state)))
        rescue = upload(
            cloud,
            undo,
            _noise(noise / "rescue.raw", Path(images[1]).stat().st_size, seed),
            hw_rescue_device="disk",
            hw_rescue_bus="virtio",
        )
        fleet = Fleet(lab, cloud, undo, own)
        servers = {
            name: fleet.make(f"chaos-{name}", rescue, root=root)
            for name, (root, _runs) in KINDS.items()
        }
        prepare(servers, clock)
        chaos = Chaos(lab, servers, clock)
        try:
            for run in plan:
                chaos.run(run)
        except KeyboardInterrupt:
            clock.say(f"ended after {len(chaos.entries)} runs, as asked for")
        faults = chaos.finish()
        clock.say("all servers unrescued, guests booted again")
    print()
    for line in report.lines(chaos.entries):
        print(line)
    for fault in faults:
        print(f"fault at the end: {fault}")
    lost, left = report.lost(chaos.entries), report.leftovers(chaos.entries)
    done = len(chaos.entries)
    print(f"\n{done} runs, seed {seed}: {lost} servers lost, {left} leftovers")
    return not (lost or left or faults)


def _noise(path: Path, size: int, seed: int) -> Path:
    """Write a file that nothing can make smaller, nor boot."""
    sectors = -(-size // 512)
    path.write_bytes(bytes(512) + random.Random(seed).randbytes(512 * sectors))
    return path


def main(words: Sequence[str]) -> int:
    """Play; return 0 if no server was lost and nothing was left behind."""
    lab = Lab.open(Path(words[0]))
    try:
        well = play(lab, words[1:3], int(words[3]), int(words[4]), words[5])
    except FAILURES as error:
        print(f"chaos: {error}", file=sys.stderr)
        return 1
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
