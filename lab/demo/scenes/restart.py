# SPDX-License-Identifier: Apache-2.0
"""nova-compute is killed in the middle of a rescue, or of its end, and started again.

Cases are ACTION/STATE: the state that the rescue's record is in when it is killed.
"""

from __future__ import annotations

import time

from lab.chaos.fleet import Asked
from lab.chaos.host import Host
from lab.chaos.victims import Killer
from lab.demo.request import Request
from lab.demo.server import API_SECONDS, DemoServer, poll
from lab.demo.stage import Stage
from lab.service import wait_until

CASES = {
    "rescue/preparing": "ACTIVE",
    "rescue/beginning": "ACTIVE",
    "rescue/rescued": "RESCUE",
    "unrescue/ending": "ACTIVE",
}
NOVA_COMPUTE = "nova-compute"
#: What it logs when it begins.
STARTED = "Starting compute node"
#: From then to a server that is finished or undone.
WITHIN_SECONDS = 10.0
#: How long the record may take to come to a state; looked at more often than that.
STATE_SECONDS = 60.0


def cases(request: Request) -> list[str]:
    """Return all cases: one server goes through each of them."""
    return list(CASES)


def play(stage: Stage, case: str) -> bool:
    """Kill, start, and see; return whether the server was soon at rest."""
    action, state = case.split("/")
    with stage.server(f"demo-restart-{state}") as server:
        own = server.image(stage.images.original_qcow2, os_shutdown_timeout="4")
        rescue = server.rescue_image(stage.images.rescue_qcow2, "disk", "virtio")
        stage.clock.say("images uploaded")
        with server.booted(own):
            server.inventory()
            stage.clock.say("server booted")
            if action == "unrescue":
                server.rescue(rescue)
                stage.clock.say("status RESCUE")
            status, seconds = _cut_short(stage, server, action, state, rescue)
    stage.head(f"nova-compute killed in {action}, its record being {state!r}")
    print(f"status {status}, at rest {seconds:.1f} s after nova-compute's start")
    return stage.verdict(judge(CASES[case], status, seconds))


def judge(wanted: str, status: str, seconds: float) -> list[str]:
    """Return what is not as it should be after a restart."""
    faults = [] if status == wanted else [f"the status is {status}, not {wanted}"]
    if seconds > WITHIN_SECONDS:
        faults.append(f"it took more than {WITHIN_SECONDS:.0f} s")
    return faults


def _cut_short(
    stage: Stage, server: DemoServer, action: str, state: str, image: str
) -> tuple[str, float]:
    """Kill nova-compute in a state; return status, and seconds since its start."""
    host, killer = Host(stage.lab), Killer(stage.lab)
    compute, made = stage.cloud.compute, server.server

    def ask() -> None:
        if action == "rescue":
            compute.rescue_server(made, image=image)
        else:
            compute.unrescue_server(made)

    Asked(ask)
    deadline = time.monotonic() + STATE_SECONDS
    while host.phase(made.id) != state and time.monotonic() < deadline:
        time.sleep(0.002)
    killer.kill(NOVA_COMPUTE, f"restart-{state}")
    stage.clock.say(f"{NOVA_COMPUTE} killed in {action}, {host.phase(made.id)}")
    began = time.monotonic()
    service = killer.service(NOVA_COMPUTE)
    service.start()
    # Before that Python loads Nova: seconds on a busy machine, and no one's rescue.
    wait_until("its start", lambda: service.said(STARTED), STATE_SECONDS)
    loaded = time.monotonic() - began
    stage.clock.say(f"{NOVA_COMPUTE} started, its code loaded in {loaded:.1f} s")
    began = time.monotonic()
    found = poll(
        "end of the task",
        lambda: now if (now := server.server_now()).task_state is None else None,
        API_SECONDS,
    )
    seconds = time.monotonic() - began
    killer.revive(NOVA_COMPUTE)  # it runs: waited for
    return str(found.status), seconds
