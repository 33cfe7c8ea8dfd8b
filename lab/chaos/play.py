# SPDX-License-Identifier: Apache-2.0
"""Rescues and unrescues three servers, and kills one service in each run.

Arguments: state folder, original disk, rescue disk, number of runs, seed, victims, and
"commands" if an operator runs the commands of stable-rescue meanwhile.

The rescue images are as large as bootable ones but do not boot. Chaos looks at servers
from the host, and emulating the boot of each rescue would take most of the time.
"""

from __future__ import annotations

import contextlib
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from lab.chaos import killed_host, report
from lab.chaos.judge import Outcome, Verdict, View, extra_resources, judge
from lab.chaos.operator import Operator
from lab.chaos.report import Entry
from lab.chaos.schedule import Run, schedule
from lab.chaos.server import SHUTDOWN_SECONDS, ChaosServer, make_server
from lab.clock import Clock
from lab.config import Lab
from lab.errors import LabError
from lab.servers.api import FAILURES, BackgroundRequest, connect
from lab.servers.factory import ServerFactory
from lab.servers.host import Host
from lab.services import victims
from stable_rescue.tempest.guest.comparison import compare

#: A killed service may never answer a request, so no request is waited for longer.
REQUEST_SECONDS = 60
NOVA_COMPUTE = "nova-compute"
#: name: what the root disk is on, and whether the server runs before it is rescued.
KINDS = {
    "image": ("image", True),
    "volume": ("volume", True),
    "stopped": ("image", False),
}


class Chaos:
    """The servers, the host, and the runs so far."""

    def __init__(self, lab: Lab, servers: dict[str, ChaosServer], clock: Clock) -> None:
        self.servers, self.clock = servers, clock
        self.host, self.killer = Host(lab), victims.Killer(lab)
        self.resources = self.host.resources()
        self.views = {name: server.view() for name, server in servers.items()}
        self.entries: list[Entry] = []

    def run(self, run: Run) -> None:
        """Do one run and judge it; repair the server if it is lost."""
        server = self.servers[run.server]
        before = self.views[run.server]
        action = "unrescue" if before.status == "RESCUE" else "rescue"
        began = time.monotonic()
        request = BackgroundRequest(lambda: server.request(action))
        moment = run.moment * server.seconds[action]
        time.sleep(max(0.0, began + moment - time.monotonic()))
        phase = f"{action}, {self.host.phase(server.id)}"
        self.killer.kill(run.victim, f"{run.number:03}-{run.victim}")
        time.sleep(run.pause)
        started = time.monotonic()
        self.killer.revive(run.victim)
        request.join(REQUEST_SECONDS * 2)
        server.wait_until_idle()
        seconds = time.monotonic() - started
        now = self.views[run.server] = server.view()
        extra = self._extra()
        verdict = judge(server.original, before, now, extra)
        self.entries.append(Entry(run.victim, phase, verdict, seconds))
        refusal = f"; the API refused: {request.refusal}" if request.refusal else ""
        self.clock.say(
            f"run {run.number}: {action} of {run.server}, kill -9 {run.victim} after"
            f" {moment:.1f} s ({phase}): {verdict.outcome} {seconds:.1f} s after the"
            f" restart of {run.victim}{refusal}"
        )
        self._print(verdict)
        self.resources |= extra  # count each leftover once
        if verdict.outcome is Outcome.LOST:
            self.views[run.server] = self._repair(server)

    def finish(self) -> list[str]:
        """Unrescue every server; return the differences from the original servers."""
        faults = []
        for name, server in self.servers.items():
            before = server.view()
            if before.status == "RESCUE":
                server.request("unrescue")
                server.reach(server.original.status)
            now = self.views[name] = server.view()
            verdict = judge(server.original, before, now, self._extra())
            problems = (*verdict.faults, *verdict.leftovers)
            faults += [f"{name}: {problem}" for problem in problems]
        for name, server in self.servers.items():
            if not server.original.running:
                server.act("os-start")
                server.reach("ACTIVE")
            comparison = compare(server.inventory, server.wait_for_inventory())
            changes = [
                *(change for change in comparison.originals if change.disturbed),
                *comparison.appeared,
            ]
            faults += [f"{name}: in the guest: {change}" for change in changes]
        return faults

    def _extra(self) -> frozenset[str]:
        rescued = frozenset(
            self.servers[name].id
            for name, view in self.views.items()
            if view.status == "RESCUE"
        )
        return extra_resources(self.resources, self.host.resources(), rescued)

    def _print(self, verdict: Verdict) -> None:
        for fault in verdict.faults:
            self.clock.say(f"  fault: {fault}")
        for leftover in verdict.leftovers:
            self.clock.say(f"  left behind: {leftover}")

    def _repair(self, server: ChaosServer) -> View:
        """Restart nova-compute, which recovers a server, and return the new view."""
        self.clock.say(f"  restarting {NOVA_COMPUTE} to recover {server.name}")
        self.killer.report(NOVA_COMPUTE)
        self.killer.kill(NOVA_COMPUTE, f"lost-{len(self.entries):03}")
        self.killer.revive(NOVA_COMPUTE)
        server.wait_until_idle()
        view = server.view()
        self._print(judge(server.original, view, view, self._extra()))
        self.clock.say(f"  {server.name} is {view.status} now")
        return view


def prepare(servers: dict[str, ChaosServer], clock: Clock) -> None:
    """Mark the disks, read inventories, and measure an undisturbed rescue.

    :raises LabError: if an undisturbed rescue fails
    """
    for number, server in enumerate(servers.values()):
        server.reach("ACTIVE")
        server.reboot()
        server.reach("ACTIVE")
        server.mark_disks(first_byte=1 + 16 * number)
    clock.say("servers created, their disks marked")
    for server in servers.values():
        server.inventory = server.wait_for_inventory()
    clock.say("guests booted")
    for name, server in servers.items():
        if not KINDS[name][1]:
            server.act("os-stop")
            server.reach("SHUTOFF")
        server.original = server.view()
        for action, status in (
            ("rescue", "RESCUE"),
            ("unrescue", server.original.status),
        ):
            began = time.monotonic()
            server.request(action)
            server.reach(status)
            server.seconds[action] = time.monotonic() - began
        view = server.view()
        verdict = judge(server.original, view, view, frozenset())
        if verdict.faults or verdict.leftovers:
            raise LabError(f"{name}: an undisturbed rescue has failed: {verdict}")
        clock.say(
            f"{name}, undisturbed: rescue in {server.seconds['rescue']:.1f} s,"
            f" unrescue in {server.seconds['unrescue']:.1f} s"
        )


def play(
    lab: Lab,
    images: Sequence[str],
    runs: int,
    seed: int,
    names: str,
    with_commands: bool = False,
) -> bool:
    """Do all runs and print the report; return True if nothing was lost or left.

    :param with_commands: run the commands of stable-rescue as well, and judge them
    """
    clock = Clock()
    plan = schedule(seed, runs, tuple(KINDS), victims.chosen(names))
    cloud = connect(api_timeout=REQUEST_SECONDS)
    with contextlib.ExitStack() as cleanup:
        factory = ServerFactory(lab, cloud, cleanup, "chaos")
        image = factory.image(
            Path(images[0]),
            hw_machine_type="q35",
            os_shutdown_timeout=str(SHUTDOWN_SECONDS),
        )
        folder = Path(cleanup.enter_context(tempfile.TemporaryDirectory(dir=lab.state)))
        noise = _noise(folder / "rescue.raw", Path(images[1]).stat().st_size, seed)
        rescue = factory.rescue_image(noise, "disk", "virtio")
        servers = {
            name: make_server(factory, f"chaos-{name}", image, rescue, root=root)
            for name, (root, _runs) in KINDS.items()
        }
        doomed = None
        if with_commands:
            doomed = make_server(
                factory, "chaos-doomed", image, rescue, small=True, types=()
            )
        prepare(servers, clock)
        operator = Operator(lab, [*servers.values()], seed)
        chaos = Chaos(lab, servers, clock)
        with operator.at_work() if doomed else contextlib.nullcontext():
            try:
                for run in plan:
                    chaos.run(run)
            except KeyboardInterrupt:
                clock.say(f"interrupted after {len(chaos.entries)} runs")
        faults = chaos.finish()
        clock.say("all servers unrescued, guests booted again")
        if doomed:
            faults += killed_host.play(lab, doomed, operator, chaos.killer)
            faults += operator.faults()
            clock.say("host killed, its deleted server cleaned up")
    print()
    for line in report.lines(chaos.entries):
        print(line)
    for line in operator.lines():
        print(line)
    for fault in faults:
        print(f"fault at the end: {fault}")
    lost, left = report.lost(chaos.entries), report.leftovers(chaos.entries)
    count = len(chaos.entries)
    print(f"\n{count} runs, seed {seed}: {lost} servers lost, {left} leftovers")
    return not (lost or left or faults)


def _noise(path: Path, size: int, seed: int) -> Path:
    """Write a file of random bytes, which cannot be compressed, and does not boot."""
    sectors = -(-size // 512)
    path.write_bytes(bytes(512) + random.Random(seed).randbytes(512 * sectors))
    return path


def main(words: Sequence[str]) -> int:
    """Run chaos; return 0 if no server was lost and nothing was left behind."""
    lab = Lab.open(Path(words[0]))
    try:
        numbers = int(words[3]), int(words[4])
        succeeded = play(lab, words[1:3], *numbers, words[5], words[6:] == ["commands"])
    except FAILURES as error:
        # An error may be why the removal of servers and volumes fails as well.
        earlier = error.__context__
        if isinstance(earlier, FAILURES):
            print(f"chaos: {earlier}", file=sys.stderr)
        print(f"chaos: {error}", file=sys.stderr)
        return 1
    return 0 if succeeded else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
