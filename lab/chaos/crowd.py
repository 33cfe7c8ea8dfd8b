# SPDX-License-Identifier: Apache-2.0
"""Rescues many servers at once, then lets rescues compete with other actions.

Arguments: state folder, original disk, rescue disk, number of servers.

No guest boots: the disks are blank and the firmware waits. So the machine has time for
what is tested here, the requests to Nova.
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

from lab.chaos.judge import Verdict, View, judge
from lab.chaos.server import ChaosServer, make_server
from lab.clock import Clock
from lab.config import Lab
from lab.errors import LabError
from lab.servers.api import FAILURES, BackgroundRequest, connect
from lab.servers.factory import ServerFactory
from lab.servers.host import Host

REQUEST_SECONDS = 120
CROWD_SECONDS = 600.0
DELETE_SECONDS = 120.0
BLANK_BYTES = 4 * 1024**2
_METADATA = re.compile(r"<metadata>.*?</metadata>", re.DOTALL)
#: name: how to request an action that competes with a rescue.
RIVALS: dict[str, Callable[[ChaosServer], None]] = {
    "delete": lambda server: _delete(server),
    # A hard reboot: a guest that has not booted ignores a soft one.
    "reboot": lambda server: server.reboot(),
    "stop": lambda server: server.act("os-stop"),
    "a second rescue": lambda server: server.request("rescue"),
    "unrescue": lambda server: server.request("unrescue"),
}


def request_all(
    servers: Sequence[ChaosServer], action: str, status: Callable[[ChaosServer], str]
) -> float:
    """Request an action for all servers at once; return the seconds until all end.

    :raises LabError: if a request is refused or a server gets another status
    """
    began = time.monotonic()
    requests = [
        BackgroundRequest(lambda one=one: one.request(action))  # type: ignore[misc]
        for one in servers
    ]
    for request, server in zip(requests, servers, strict=True):
        request.join(REQUEST_SECONDS)
        if request.refusal:
            raise LabError(f"{server.name}: {request.refusal}")
    for server in servers:
        server.reach(status(server), CROWD_SECONDS)
    return time.monotonic() - began


def compete(
    server: ChaosServer, rival: str, clock: Clock, rescue_first: bool
) -> list[str]:
    """Request a rescue and a rival action; return the faults.

    :param rescue_first: True to request the rival when the rescue has begun, False to
        request both at the same time
    """
    rescue = BackgroundRequest(lambda: server.request("rescue"))
    if rescue_first:
        rescue.join(REQUEST_SECONDS)
    other = BackgroundRequest(lambda: RIVALS[rival](server))
    for request in (rescue, other):
        request.join(REQUEST_SECONDS)
    answers = ", ".join(
        f"{action} {'refused' if request.refusal else 'accepted'}"
        for action, request in (("rescue", rescue), (rival, other))
    )
    deadline = time.monotonic() + DELETE_SECONDS
    if rival == "delete" and not other.refusal:
        while exists(server):
            if time.monotonic() > deadline:
                return [f"{server.name} ({answers}): the server still exists"]
            time.sleep(0.5)
        clock.say(f"{server.name}: {answers}: deleted")
        return []
    status = server.wait_until_idle()["status"]
    clock.say(f"{server.name}: {answers}: {status}")
    if status == "RESCUE":
        server.request("unrescue")
        server.reach(server.original.status)
    problems = complaints(judge_unrescued(server, status))
    return [f"{server.name} ({answers}): {problem}" for problem in problems]


def judge_unrescued(server: ChaosServer, status: str) -> Verdict:
    """Judge a server that is not rescued; with status SHUTOFF it may be off."""
    original = _without_metadata(server.original)
    now = _without_metadata(server.view())
    if status == "SHUTOFF":
        original = original.stopped()
    return judge(original, original, now, frozenset())


def _without_metadata(view: View) -> View:
    """Return a view without Nova's metadata, which a hard reboot writes again."""
    text = _METADATA.sub("", view.definition)
    return dataclasses.replace(view, definition=text)


def complaints(verdict: Verdict) -> tuple[str, ...]:
    """Return all faults and leftovers."""
    return (*verdict.faults, *verdict.leftovers)


def exists(server: ChaosServer) -> bool:
    """Return True if the API still shows the server."""
    return server.cloud.compute.get(f"/servers/{server.id}").status_code != 404


def _delete(server: ChaosServer) -> None:
    answer = server.cloud.compute.delete(f"/servers/{server.id}")
    if not answer.ok:
        raise LabError(f"delete: HTTP {answer.status_code} {answer.text[:300]}")


@contextlib.contextmanager
def crowd(
    lab: Lab, cloud: Any, count: int, clock: Clock
) -> Iterator[list[ChaosServer]]:
    """Give ``count`` servers with marked disks; delete them at the end."""
    with contextlib.ExitStack() as cleanup:
        folder = Path(cleanup.enter_context(tempfile.TemporaryDirectory(dir=lab.state)))
        blank = folder / "blank.qcow2"
        create = ["qemu-img", "create", "-q", "-f", "qcow2", str(blank)]
        subprocess.run([*create, str(BLANK_BYTES)], check=True)
        factory = ServerFactory(lab, cloud, cleanup, "chaos")
        image = factory.image(blank, hw_machine_type="q35", os_shutdown_timeout="1")
        rescue = factory.rescue_image(blank, "disk", "virtio")
        servers = []
        for number in range(count):
            # Each server has one volume; the backends take turns.
            types = factory.volume_types[number % 2 :][:1]
            name = f"crowd-{number + 1}"
            servers.append(
                make_server(factory, name, image, rescue, small=True, types=types)
            )
        for server in servers:
            server.reach("ACTIVE", CROWD_SECONDS)
            server.reboot()
        for number, server in enumerate(servers):
            server.reach("ACTIVE", CROWD_SECONDS)
            server.mark_disks(first_byte=1 + 8 * number % 240)
            server.original = server.view()
        clock.say(f"{count} servers created, their disks marked")
        yield servers


def play(lab: Lab, count: int) -> bool:
    """Play both parts; return True if no server was lost and nothing left behind."""
    clock, host = Clock(), Host(lab)
    cloud = connect(api_timeout=REQUEST_SECONDS)
    resources = host.resources()
    faults: list[str] = []
    with crowd(lab, cloud, count, clock) as servers:
        seconds = request_all(servers, "rescue", lambda server: "RESCUE")
        clock.say(f"{count} rescues at once: all servers RESCUE after {seconds:.1f} s")
        seconds = request_all(
            servers, "unrescue", lambda server: server.original.status
        )
        clock.say(f"{count} unrescues at once: all servers back after {seconds:.1f} s")
        for server in servers:
            problems = complaints(judge_unrescued(server, "ACTIVE"))
            faults += [f"{server.name}: {problem}" for problem in problems]
        clock.say(f"all servers judged: {len(faults)} faults")
        for number, server in enumerate(servers[: 2 * len(RIVALS)]):
            rival = tuple(RIVALS)[number // 2]
            faults += compete(server, rival, clock, rescue_first=number % 2 == 0)
    faults += [
        f"left behind: {resource}" for resource in sorted(host.resources() - resources)
    ]
    for fault in faults:
        print(f"fault: {fault}")
    print(f"\n{count} servers at once: {len(faults)} lost or left behind")
    return not faults


def main(words: Sequence[str]) -> int:
    """Play; return 0 if there are no faults."""
    try:
        return 0 if play(Lab.open(Path(words[0])), int(words[3])) else 1
    except FAILURES as error:
        print(f"crowd: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
