# SPDX-License-Identifier: Apache-2.0
"""The compute host fails while servers are in different states, and boots again.

Each guest writes a marker to every disk, for the next guest to read. Cases are the
values of Nova's resume_guests_state_on_host_boot. Nova's driver writes no record, so
with it the fourth server is interrupted a second after the request.
"""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Iterator
from typing import Any

from lab.cloud.resources import ENCRYPTED
from lab.config import Options
from lab.demo.rebooted import (
    ACTIVE,
    NAMES,
    OFF,
    ON,
    PREPARING,
    RESCUED,
    STOPPED,
    Seen,
    left_over,
    table,
)
from lab.demo.request import Request
from lab.demo.server import DemoServer
from lab.demo.stage import Stage
from lab.errors import LabError
from lab.servers.api import FAILURES, BackgroundRequest, poll
from lab.servers.factory import image_disk
from lab.service import wait_until
from lab.services.power import OPTION, ComputeHost
from stable_rescue.tempest.guest.inventory import Inventory

CASES = (ON, OFF)
DEFAULT_DRIVER = Options().driver
#: What nova-compute logs when it has loaded its code.
STARTED = "Starting compute node"
LOAD_SECONDS = 120.0
#: How long the rescue system is waited for after that.
WAIT_SECONDS = 90.0
#: How long Nova may have a task for a server after its start.
TASK_SECONDS = 60.0
#: How long a stable rescue may take to write its record.
RECORD_SECONDS = 60.0
STOCK_SECONDS = 1.0

Servers = dict[str, DemoServer]


def cases(request: Request) -> list[str]:
    """Return both cases, or the first."""
    return list(CASES) if request.every_case else [ON]


def play(stage: Stage, case: str) -> bool:
    """Let the host fail and boot; return True if every server is what it should be."""
    host = ComputeHost(stage.lab)
    with contextlib.ExitStack() as stack:
        servers = {
            name: stack.enter_context(stage.server(f"demo-reboot-{name}"))
            for name in NAMES
        }
        image = _boot(stage, servers, stack)
        seen = {
            name: Seen(name, guest := server.inventory(), guest)
            for name, server in servers.items()
        }
        stage.clock.say("guests booted")
        resources = _resources(servers)
        servers[STOPPED].stop()
        servers[RESCUED].rescue(image)
        seen[RESCUED].last = servers[RESCUED].inventory()
        stage.clock.say("one server stopped, the guest of another rescued")
        faults = _fail(stage, host, servers, seen, image)
        host.set_resume(case == ON)
        try:
            host.boot()
            _start(stage, host, servers, seen)
        finally:
            host.set_resume(None)
        for name, server in servers.items():
            _look(server, seen[name])
        stage.clock.say("every server was looked at")
        for name, server in servers.items():
            _restore(server, seen[name])
        stage.clock.say("the rescued server unrescued, every guest started")
        left = left_over(resources, _resources(servers))
    stage.head(f"the host has rebooted, {OPTION} {case}")
    for line in table(seen.values()):
        print(line)
    print(f"left over: {len(left) or 'nothing'}")
    faults += [fault for each in seen.values() for fault in each.faults(case)]
    return stage.verdict([*faults, *(f"left over: {item}" for item in left)])


def _boot(stage: Stage, servers: Servers, stack: contextlib.ExitStack) -> str:
    """Boot the servers; return the id of the rescue image."""
    factory = servers[RESCUED].factory
    original = stage.images.marking_original_qcow2
    image = factory.image(original, os_shutdown_timeout="4")
    rescue = factory.rescue_image(stage.images.marking_rescue("disk"), "disk", "virtio")
    kinds = [*factory.volume_types]
    if "ceph" in stage.lab.options.backends:
        kinds.append(ENCRYPTED)
    volumes = factory.volumes(kinds)
    stage.clock.say(f"images uploaded, {len(volumes)} volumes created")
    for name, server in servers.items():
        attached = volumes if name == RESCUED else ()
        stack.enter_context(server.booted_with(image_disk(image), attached))
    return rescue


def _fail(
    stage: Stage,
    host: ComputeHost,
    servers: Servers,
    seen: dict[str, Seen],
    image: str,
) -> list[str]:
    """Let the host fail during a rescue; return a fault if that came too late."""
    server = servers[PREPARING]
    compute, uuid = server.cloud.compute, server.server.id
    BackgroundRequest(lambda: compute.rescue_server(server.server, image=image))
    is_stock = stage.lab.options.driver != DEFAULT_DRIVER
    deadline = time.monotonic() + (STOCK_SECONDS if is_stock else RECORD_SECONDS)
    while server.host.phase(uuid) != PREPARING and time.monotonic() < deadline:
        time.sleep(0.002)
    host.fail()
    stage.clock.say("the host has failed, while one server was being rescued")
    for name, each in servers.items():
        seen[name].at_failure = _status(each.show())
    state = server.host.phase(uuid)
    if is_stock or state == PREPARING:
        return []
    return [f"the host has failed with {state!r} as the state of the record"]


def _start(
    stage: Stage, host: ComputeHost, servers: Servers, seen: dict[str, Seen]
) -> None:
    """Start nova-compute; note after how many seconds each guest ran."""
    service = host.nova_compute
    service.start()
    wait_until("nova-compute", lambda: service.has_logged(STARTED), LOAD_SECONDS)
    began = time.monotonic()
    domains = {name: server.show().instance_name for name, server in servers.items()}

    def probe() -> bool | None:
        for name, server in servers.items():
            if seen[name].seconds is None and _runs(server, domains[name]):
                seen[name].seconds = time.monotonic() - began
        return seen[RESCUED].seconds is not None or None

    with contextlib.suppress(LabError):  # a fault, which the table shows
        poll("the rescue", probe, WAIT_SECONDS)
    service.wait_ready()
    probe()
    stage.clock.say("nova-compute is ready")


def _look(server: DemoServer, seen: Seen) -> None:
    """Note what a server is when Nova has finished what it does at its start."""
    with contextlib.suppress(LabError):  # a fault: stock rescue leaves its task
        poll("the end of the task", lambda: _idle(server), TASK_SECONDS)
    shown = server.show()
    seen.after_boot, seen.has_task = _status(shown), shown.task_state is not None
    seen.has_record = server.host.has_record(server.server.id)
    seen.running = server.host.running(shown.instance_name)
    if seen.running:
        with _noting_failures(seen):
            seen.booted = _next_guest(server, seen.last.boot_id)


def _restore(server: DemoServer, seen: Seen) -> None:
    """Unrescue a rescued server, or start one that is off; note what runs then."""
    previous = (seen.booted or seen.last).boot_id
    with _noting_failures(seen):
        if server.show().status == "RESCUE":
            server.unrescue()
        elif not seen.running:
            server.start_hard()
        else:
            previous = seen.last.boot_id  # the guest that booted is the final one
        seen.final = _next_guest(server, previous)
    seen.at_end = _status(server.show())


@contextlib.contextmanager
def _noting_failures(seen: Seen) -> Iterator[None]:
    """Note a failure, so that the other servers are looked at all the same."""
    try:
        yield
    except FAILURES as error:
        seen.failures.append(str(error))


def _next_guest(server: DemoServer, boot_id: str) -> Inventory:
    """Return the inventory of the guest that runs after the one with ``boot_id``."""
    return server.wait_for("a new boot", lambda guest: guest.boot_id != boot_id)


def _runs(server: DemoServer, domain: str) -> bool:
    """Return True if a guest runs; Nova removes its domain for a moment."""
    with contextlib.suppress(subprocess.CalledProcessError):
        return server.host.running(domain)
    return False


def _idle(server: DemoServer) -> bool | None:
    return server.show().task_state is None or None


def _status(shown: Any) -> str:
    """Return the status and the task of a server as the API shows it."""
    return f"{shown.status}, {shown.task_state}" if shown.task_state else shown.status


def _resources(servers: Servers) -> set[str]:
    """Return what the host has for the servers."""
    resources = set(servers[ACTIVE].host.resources())
    for name, server in servers.items():
        resources |= {f"{name}: {file}" for file in server.host.files(server.server.id)}
    return resources
