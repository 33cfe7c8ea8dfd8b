# SPDX-License-Identifier: Apache-2.0
"""Many servers are rescued at once, and unrescued at once.

Cases are numbers of servers. All guests have booted before each request, so that they
react to their power buttons.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from typing import Any

from benchmarks.cloud import floor
from benchmarks.cloud.images import SMALL
from benchmarks.cloud.operation import (
    OPERATION_SECONDS,
    OUTCOMES,
    Subject,
    no_samples,
)
from benchmarks.cloud.stage import Stage, blocks
from lab.errors import LabError
from lab.servers import compute
from lab.servers.api import BackgroundRequest, poll
from lab.servers.events import listening

REQUEST_SECONDS = 120.0


def measure(stage: Stage, names: Sequence[str]) -> None:
    """Measure cases and save what each round took: by operation, then by driver."""
    for name in names:
        with stage.reporting_failure("crowd", name):
            stage.save(name, measure_crowd(stage, int(name)))


def measure_crowd(stage: Stage, count: int) -> dict[str, Any]:
    """Return what each round took with a number of servers.

    The floor is measured in rounds of stable rescue, with the same definitions.

    :raises LabError: if a server does not reach its status
    """
    results = no_samples("stable", "stock", "floor")

    def keep(operation: str, driver: str, result: dict[str, Any]) -> None:
        results[operation][driver].append(result)
        stage.clock.say(
            f"{operation} of {count}, {driver}: {result['total']:.1f} s,"
            f" worst downtime {max(result['downtimes']):.2f} s"
        )

    with contextlib.ExitStack() as cleanup:
        cleanup.enter_context(stage.driver_of_lab())
        stage.use("stable")
        factory = stage.factory(cleanup, "bench-crowd")
        rescue = stage.rescue_image(factory, SMALL)
        original = stage.original_image(factory)
        events = cleanup.enter_context(listening())
        servers = []
        for _number in range(count):
            servers.append(factory.server("lab.tiny", image=original))
            cleanup.callback(factory.delete, servers[-1])
        for server in servers:
            stage.cloud.compute.wait_for_server(server, wait=OPERATION_SECONDS)
        subjects = [stage.subject(events, server) for server in servers]
        for subject in subjects:
            subject.wait_for_boot("original")
        stage.clock.say(f"{count} servers have booted")
        for driver, rounds in blocks(stage.rounds):
            stage.use(driver)
            # Not counted: modules and privileged helpers are loaded at the first use.
            subjects[0].operate("rescue", rescue)
            subjects[0].operate("unrescue")
            for _number in range(rounds):
                originals = [floor.definition(each.domain) for each in subjects]
                keep("rescue", driver, together(stage, subjects, "rescue", rescue))
                if driver == "stable":
                    rescues = [floor.definition(each.domain) for each in subjects]
                    for operation, definitions in (
                        ("unrescue", originals),
                        ("rescue", rescues),
                    ):
                        image = OUTCOMES[operation][1]
                        result = floor.exchange_in_turn(subjects, definitions, image)
                        keep(operation, "floor", result)
                keep("unrescue", driver, together(stage, subjects, "unrescue", rescue))
    return results


def together(
    stage: Stage, subjects: Sequence[Subject], operation: str, image: str
) -> dict[str, Any]:
    """Request an operation of all servers at once; return what that took.

    The result has the seconds until the last server has its status, the downtime and
    the shutdown of each guest, and nova-compute's CPU seconds and memory in MiB.

    :raises LabError: if a request is refused, or a server gets another status
    """
    process = compute.process(stage.lab)
    compute.reset_peak(process)
    cpu, memory = compute.cpu_seconds(process), compute.mebibytes(process)
    began = time.time()
    requests = [
        BackgroundRequest(lambda one=one: _request(one, operation, image))  # type: ignore[misc]
        for one in subjects
    ]
    for request in requests:
        request.join(REQUEST_SECONDS)
        if request.is_alive() or request.refusal:
            raise LabError(f"{operation}: {request.refusal or 'no answer'}")
    reached = _reach(stage, subjects, OUTCOMES[operation][0])
    result = {
        "total": reached - began,
        "cpu_seconds": compute.cpu_seconds(process) - cpu,
        "mib_before": memory,
        "mib_peak": compute.mebibytes(process, "VmHWM"),
    }
    samples = [subject.sample(began, reached) for subject in subjects]
    for subject in subjects:
        subject.wait_for_boot(OUTCOMES[operation][1])
    return result | {
        "downtimes": [sample.downtime for sample in samples],
        "shutdowns": [sample.shutdown for sample in samples],
    }


def _request(subject: Subject, operation: str, image: str) -> None:
    subject.request(operation, image)


def _reach(stage: Stage, subjects: Sequence[Subject], wanted: str) -> float:
    """Wait until all servers have a status; return when, in seconds since the epoch.

    One request for all servers spares the machine, which has work to do.
    """
    ids = {subject.id for subject in subjects}

    def probe() -> float | None:
        servers = stage.cloud.compute.get("/servers/detail").json()["servers"]
        now = time.time()
        ended = [
            server["status"]
            for server in servers
            if server["id"] in ids and server["OS-EXT-STS:task_state"] is None
        ]
        if others := [status for status in ended if status != wanted]:
            # Of a server whose request was accepted, the task state is set already.
            raise LabError(f"{len(others)} servers are {others[0]}, not {wanted}.")
        return now if len(ended) == len(ids) else None

    return poll(f"{len(ids)} servers in {wanted}", probe, OPERATION_SECONDS)
