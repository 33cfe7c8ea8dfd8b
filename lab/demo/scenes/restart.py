# SPDX-License-Identifier: Apache-2.0
"""nova-compute is killed during a rescue or an unrescue, and started again.

Cases are ACTION/STATE: nova-compute is killed when the rescue's record is in STATE.
"""

from __future__ import annotations

import time

from lab.demo.request import Request
from lab.demo.server import DemoServer
from lab.demo.stage import Stage
from lab.servers.api import BackgroundRequest
from lab.service import wait_until
from lab.services.victims import Killer

#: case: the status that the server has after recovery.
CASES = {
    "rescue/preparing": "ACTIVE",
    "rescue/beginning": "ACTIVE",
    "rescue/rescued": "RESCUE",
    "unrescue/ending": "ACTIVE",
}
NOVA_COMPUTE = "nova-compute"
#: What nova-compute logs when it has loaded its code.
STARTED = "Starting compute node"
#: How long recovery may take after that.
RECOVERY_SECONDS = 10.0
#: How long the record may take to get into a state.
STATE_SECONDS = 60.0


def cases(request: Request) -> list[str]:
    """Return all cases; there is no choice."""
    return list(CASES)


def play(stage: Stage, case: str) -> bool:
    """Kill and start nova-compute; return True if the server recovered in time."""
    action, state = case.split("/")
    with stage.server(f"demo-restart-{state}") as server:
        factory, images = server.factory, stage.images
        image = factory.image(images.original_qcow2, os_shutdown_timeout="4")
        rescue = factory.rescue_image(images.rescue_qcow2, "disk", "virtio")
        stage.clock.say("images uploaded")
        with server.booted(image):
            server.inventory()
            stage.clock.say("server booted")
            if action == "unrescue":
                server.rescue(rescue)
                stage.clock.say("status RESCUE")
            status, seconds = _interrupt(stage, server, action, state, rescue)
    stage.head(f"nova-compute killed during {action}, with the record in {state!r}")
    print(f"status {status}, {seconds:.1f} s after nova-compute had started")
    return stage.verdict(judge(CASES[case], status, seconds))


def judge(wanted: str, status: str, seconds: float) -> list[str]:
    """Return everything that is wrong after a restart."""
    faults = [] if status == wanted else [f"the status is {status}, not {wanted}"]
    if seconds > RECOVERY_SECONDS:
        faults.append(f"recovery took more than {RECOVERY_SECONDS:.0f} s")
    return faults


def _interrupt(
    stage: Stage, server: DemoServer, action: str, state: str, image: str
) -> tuple[str, float]:
    """Kill nova-compute in a state and start it; return status and seconds then."""
    host, killer = server.host, Killer(stage.lab)
    compute, uuid = stage.cloud.compute, server.server.id

    def request() -> None:
        if action == "rescue":
            compute.rescue_server(server.server, image=image)
        else:
            compute.unrescue_server(server.server)

    BackgroundRequest(request)
    deadline = time.monotonic() + STATE_SECONDS
    while host.phase(uuid) != state and time.monotonic() < deadline:
        time.sleep(0.002)
    killer.kill(NOVA_COMPUTE, f"restart-{state}")
    stage.clock.say(f"{NOVA_COMPUTE} killed during {action}, {host.phase(uuid)}")
    began = time.monotonic()
    service = killer.service(NOVA_COMPUTE)
    service.start()
    # Loading Nova's code takes seconds on a busy machine; recovery begins after that.
    wait_until(
        f"{NOVA_COMPUTE} to load", lambda: service.has_logged(STARTED), STATE_SECONDS
    )
    loaded = time.monotonic() - began
    stage.clock.say(f"{NOVA_COMPUTE} started, its code loaded in {loaded:.1f} s")
    began = time.monotonic()
    status = str(server.wait_for_task().status)
    seconds = time.monotonic() - began
    killer.revive(NOVA_COMPUTE)  # already started: this waits until it is ready
    return status, seconds
