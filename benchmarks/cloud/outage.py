# SPDX-License-Identifier: Apache-2.0
"""How long a guest is off if nova-conductor stops working while it is off.

nova-conductor gets SIGSTOP at the moment when libvirt reports that the guest has
stopped, and SIGCONT after OUTAGE_SECONDS. The server has to reach its status then.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import threading
from collections.abc import Sequence
from typing import Any

from benchmarks.cloud.images import SMALL
from benchmarks.cloud.operation import OPERATIONS, Sample, no_samples
from benchmarks.cloud.stage import Stage
from lab.demo.server import DemoServer
from lab.servers import compute
from lab.servers.events import STOPPED, Event, listening
from lab.servers.factory import image_disk

OUTAGE_SECONDS = 10.0


class Outage:
    """Stops a service for some seconds as soon as a domain has stopped."""

    def __init__(self, process_group: int) -> None:
        self._process_group = process_group
        self._armed = False
        self.domain = ""
        #: Set when the outage is over.
        self.over = threading.Event()

    def arm(self) -> None:
        """Stop the service at the next stop of the domain."""
        self.over.clear()
        self._armed = True

    def react(self, event: Event) -> None:
        """Begin the outage if the event is the stop of the domain."""
        if self._armed and event.domain == self.domain and event.name == STOPPED:
            self._armed = False
            os.killpg(self._process_group, signal.SIGSTOP)
            threading.Timer(OUTAGE_SECONDS, self.end).start()

    def end(self) -> None:
        """Let the service continue."""
        os.killpg(self._process_group, signal.SIGCONT)
        self.over.set()


def measure(stage: Stage, names: Sequence[str]) -> None:
    """Measure, and save samples: by operation, then "undisturbed" or "outage"."""
    for name in names:
        with stage.reporting_failure("outage", name):
            stage.save(name, measure_outage(stage, name))


def measure_outage(stage: Stage, service: str) -> dict[str, Any]:
    """Return the samples with outages of a service, and without.

    :raises LabError: if the server does not reach a status
    """
    results = no_samples("undisturbed", "outage")
    outage = Outage(int(compute.process(stage.lab, service).name))
    with contextlib.ExitStack() as cleanup:
        cleanup.enter_context(stage.driver_of_lab())
        stage.use("stable")
        factory = stage.factory(cleanup, "bench-outage")
        rescue = stage.rescue_image(factory, SMALL)
        original = stage.original_image(factory)
        server = DemoServer(factory)
        cleanup.enter_context(server.booted_with(image_disk(original), []))
        cleanup.callback(outage.end)
        events = cleanup.enter_context(listening(outage.react))
        subject = stage.subject(events, server.server)
        outage.domain = subject.domain
        subject.wait_for_boot("original")
        for number in range(-1, stage.rounds):
            for kind in ("undisturbed", "outage"):
                for operation in OPERATIONS:
                    if kind == "outage":
                        outage.arm()
                    sample: Sample = subject.operate(operation, rescue)
                    if kind == "outage":
                        outage.over.wait(2 * OUTAGE_SECONDS)
                    if number >= 0:
                        results[operation][kind].append(dataclasses.asdict(sample))
                    stage.clock.say(f"{operation}, {kind}: off {sample.downtime:.2f} s")
    return results
