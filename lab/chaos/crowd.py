# SPDX-License-Identifier: Apache-2.0
"""Many rescues at once on one host, then other actions asked for along with one.

Played in the sandbox. Arguments: state folder, original disk, rescue disk, number of
servers. Nothing of them boots: the disks are blank, so that firmware waits, and no
more is emulated than what is asked of Nova.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import openstack

from lab.chaos.disks import Marks
from lab.chaos.fleet import FAILURES, Asked, ChaosServer, Fleet, upload
from lab.chaos.host import Host
from lab.chaos.judge import Verdict, View, judge
from lab.config import Lab
from lab.demo.stage import MICROVERSION
from lab.errors import LabError
from lab.runner import Clock

REQUEST_SECONDS = 120
CROWD_SECONDS = 600.0
GONE_SECONDS = 120.0
_METADATA = re.compile(r"<metadata>.*?</metadata>", re.DOTALL)
BLANK_BYTES = 4 * 1024**2
#: name: how to ask for it.
RIVALS: dict[str, Callable[[ChaosServer], None]] = {
    "delete": lambda server: _delete(server),
    # A guest that does not boot takes no notice of a soft one.
    "reboot": lambda server: server.reboot(),
    "stop": lambda server: server.act("os-stop"),
    "a second rescue": lambda server: server.ask("rescue"),
    "unrescue": lambda server: server.ask("unrescue"),
}


def everyone(
    servers: Sequence[ChaosServer], action: str, status: Callable[[ChaosServer], str]
) -> float:
    """Ask all for an action at once; return the seconds until all have come to rest.

    :raises LabError: where one of them is refused, or comes to another status
    """
    began = time.monotonic()
    asked = [Asked(lambda one=one: one.ask(action)) for one in servers]  # type: ignore[misc]
    for request, server in zip(asked, servers, strict=True):
        request.join(REQUEST_SECONDS)
        if request.refusal:
            raise LabError(f"{server.name}: {request.refusal}")
    for server in servers:
        server.reach(status(server), CROWD_SECONDS)
    return time.monotonic() - began


def rivals(server: ChaosServer, name: str, clock: Clock, first: bool) -> list[str]:
    """Ask for a rescue and something else; return what is not well after.

    :param first: whether the rescue is under way by then; else both are asked for at
        once, and Nova's API lets one of them in
    """
    rescue = Asked(lambda: server.ask("rescue"))
    if first:
        rescue.join(REQUEST_SECONDS)
    other = Asked(lambda: RIVALS[name](server))
    for request in (rescue, other):
        request.join(REQUEST_SECONDS)
    won = ", ".join(
        f"{who} {'refused' if request.refusal else 'accepted'}"
        for who, request in (("rescue", rescue), (name, other))
    )
    deadline = time.monotonic() + GONE_SECONDS
    if name == "delete" and not other.refusal:
        while exists(server):
            if time.monotonic() > deadline:
                return [f"{server.name} with {name} ({won}): it is still there"]
            time.sleep(0.5)
        clock.say(f"{server.name}: {won}: gone")
        return []
    found = server.at_rest()
    clock.say(f"{server.name}: {won}: {found['status']}")
    if found["status"] == "RESCUE":
        server.ask("unrescue")
        server.reach(server.itself.status)
    return [
        f"{server.name} with {name} ({won}): {one}"
        for one in complaints(judge_after(server, found["status"]))
    ]


def judge_after(server: ChaosServer, status: str) -> Verdict:
    """Judge a server that is itself: stopped, where that is what was asked for."""
    itself, now = _as_built(server.itself), _as_built(server.view())
    if status == "SHUTOFF":
        itself = itself.stopped()
    return judge(itself, itself, now, frozenset())


def _as_built(view: View) -> View:
    """Leave out what Nova notes of a server: a hard reboot builds that anew."""
    text = _METADATA.sub("", view.definition)
    return dataclasses.replace(view, definition=text)


def complaints(verdict: Verdict) -> tuple[str, ...]:
    """Return all that is not well."""
    return (*verdict.faults, *verdict.leftovers)


def exists(server: ChaosServer) -> bool:
    """Say whether the API knows the server."""
    return server.cloud.compute.get(f"/servers/{server.id}").status_code != 404


def _delete(server: ChaosServer) -> None:
    answer = server.cloud.compute.delete(f"/servers/{server.id}")
    if not answer.ok:
        raise LabError(f"delete: HTTP {answer.status_code} {answer.text[:300]}")


@contextlib.contextmanager
def crowd(
    lab: Lab, cloud: Any, count: int, clock: Clock
) -> Iterator[list[ChaosServer]]:
    """Give so many servers, their disks marked; they go at the end."""
    with contextlib.ExitStack() as undo:
        folder = Path(undo.enter_context(tempfile.TemporaryDirectory(dir=lab.state)))
        blank = folder / "blank.qcow2"
        create = ["qemu-img", "create", "-q", "-f", "qcow2", str(blank)]
        subprocess.run([*create, str(BLANK_BYTES)], check=True)
        own = upload(cloud, undo, blank, hw_machine_type="q35", os_shutdown_timeout="1")
        rescue = upload(
            cloud, undo, blank, hw_rescue_device="disk", hw_rescue_bus="virtio"
        )
        fleet = Fleet(lab, cloud, undo, own)
        servers = []
        for number in range(count):
            # Volumes of one kind and of another, in turn.
            types = fleet.types[number % 2 :][:1]
            name = f"crowd-{number + 1}"
            servers.append(fleet.make(name, rescue, small=True, types=types))
        for server in servers:
            server.reach("ACTIVE", CROWD_SECONDS)
            server.reboot()
        for number, server in enumerate(servers):
            server.reach("ACTIVE", CROWD_SECONDS)
            server.domain = server.now()["OS-EXT-SRV-ATTR:instance_name"]
            server.host.virsh("destroy", server.domain)
            server.marks = Marks(
                server.host.definition(server.domain), 1 + 8 * number % 240
            )
            server.marks.write()
            server.host.virsh("start", server.domain)
            server.itself = server.view()
        clock.say(f"{count} servers made, their disks marked")
        yield servers


def play(lab: Lab, count: int) -> bool:
    """Play all; return whether no server was lost and nothing left behind."""
    clock, host = Clock(), Host(lab)
    cloud = openstack.connect(api_timeout=REQUEST_SECONDS)
    cloud.compute.default_microversion = MICROVERSION
    things = host.things()
    faults: list[str] = []
    with crowd(lab, cloud, count, clock) as servers:
        rescued = everyone(servers, "rescue", lambda server: "RESCUE")
        clock.say(f"{count} rescued at once: all RESCUE in {rescued:.1f} s")
        back = everyone(servers, "unrescue", lambda server: server.itself.status)
        clock.say(f"{count} unrescued at once: all itself in {back:.1f} s")
        for server in servers:
            found = complaints(judge_after(server, "ACTIVE"))
            faults += [f"{server.name}: {one}" for one in found]
        clock.say(f"all judged: {len(faults)} faults")
        for number, server in enumerate(servers[: 2 * len(RIVALS)]):
            name = tuple(RIVALS)[number // 2]
            faults += rivals(server, name, clock, first=number % 2 == 0)
    faults += [f"left behind: {thing}" for thing in sorted(host.things() - things)]
    for fault in faults:
        print(f"fault: {fault}")
    print(f"\n{count} servers at once: {len(faults)} lost or left behind")
    return not faults


def main(words: Sequence[str]) -> int:
    """Play; return 0 if all is well."""
    try:
        return 0 if play(Lab.open(Path(words[0])), int(words[3])) else 1
    except FAILURES as error:
        print(f"crowd: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
