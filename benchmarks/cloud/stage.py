# SPDX-License-Identifier: Apache-2.0
"""What a benchmark in the lab works with."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.cloud import images
from benchmarks.cloud.operation import Subject
from lab.clock import Clock
from lab.config import Lab
from lab.servers import compute
from lab.servers.api import FAILURES, connect
from lab.servers.events import Events
from lab.servers.factory import ServerFactory
from lab.servers.host import Host

#: How the results name the drivers.
DRIVERS = {"stable": compute.STABLE_DRIVER, "stock": compute.STOCK_DRIVER}
#: Nova asks a guest to shut down for this long; the lab's guests react at once.
SHUTDOWN_TIMEOUT = "60"


@dataclasses.dataclass
class Outcome:
    """Whether a block has failed."""

    failed: bool = False


class Stage:
    """The lab, its API, and a clock."""

    def __init__(
        self,
        lab: Lab,
        rounds: int,
        clock: Clock,
        save: Callable[[str, Any], None],
    ) -> None:
        """Prepare to measure.

        :param save: called with a case and what was measured, once or more often
        """
        self.lab, self.rounds, self.clock = lab, rounds, clock
        self.save = save
        #: How many cases have failed.
        self.failures = 0
        self.cloud = connect()
        self.host = Host(lab)
        self.images_type = lab.options.images_type
        #: The driver and the images_type that nova-compute was started with.
        self._configured: tuple[str, str] | None = None

    def use(self, driver: str) -> None:
        """Start nova-compute with a driver, "stable" or "stock", unless it has it.

        :raises LabError: if nova-compute does not start
        """
        self._use(DRIVERS[driver], self.images_type)

    def _use(self, driver: str, images_type: str) -> None:
        if self._configured != (driver, images_type):
            compute.start(compute.stop(self.lab, driver, images_type))
            self._configured = (driver, images_type)
            self.clock.say(f"nova-compute started: {driver}, {images_type}")

    @contextlib.contextmanager
    def driver_of_lab(self) -> Iterator[None]:
        """Start nova-compute with the lab's own options after the block."""
        options = self.lab.options
        try:
            yield
        finally:
            self._use(options.driver, options.images_type)

    @contextlib.contextmanager
    def reporting_failure(self, benchmark: str, case: str) -> Iterator[Outcome]:
        """Print and count a failure of the block instead of raising it."""
        outcome = Outcome()
        try:
            yield outcome
        except FAILURES as error:
            self.failures += 1
            outcome.failed = True
            print(f"bench: {benchmark} {case}: {error}", file=sys.stderr, flush=True)

    def factory(self, cleanup: contextlib.ExitStack, name: str) -> ServerFactory:
        """Return a factory whose images and volumes ``cleanup`` deletes."""
        return ServerFactory(self.lab, self.cloud, cleanup, name)

    def original_image(self, factory: ServerFactory) -> str:
        """Upload the image of a server that boots and reacts to its power button."""
        return factory.image(
            images.image(self.lab, "original"),
            hw_machine_type="q35",
            os_shutdown_timeout=SHUTDOWN_TIMEOUT,
        )

    def rescue_image(self, factory: ServerFactory, mebibytes: int) -> str:
        """Upload a rescue image of a size."""
        path = images.image(self.lab, "rescue", mebibytes)
        return factory.rescue_image(path, "disk", "virtio")

    def subject(self, events: Events, server: Any) -> Subject:
        """Return a server that is measured."""
        shown = self.cloud.compute.get_server(server)
        return Subject(self.cloud, self.host, events, shown)


def blocks(rounds: int) -> list[tuple[str, int]]:
    """Return the drivers in turn, A B A B, with the number of rounds of each turn."""
    first, second = -(-rounds // 2), rounds // 2
    return [(driver, count) for count in (first, second) for driver in DRIVERS if count]
