# SPDX-License-Identifier: Apache-2.0
"""What a scene is played on: a lab, its API, images, a clock; and how it is judged."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator

import openstack

from lab.config import Lab
from lab.demo.request import Request
from lab.demo.server import DemoServer
from lab.demo.table import Result
from lab.runner import Clock
from stable_rescue.tempest.guest.comparison import place
from stable_rescue.tempest.guest.inventory import Inventory

#: The newest that Nova 31 has: all of a server's fields in one answer, and rescue of
#: servers whose root is a volume (2.87).
MICROVERSION = "2.90"


class StepClock(Clock):
    """Prints each step with its own seconds, behind those since the start."""

    def __init__(self) -> None:
        super().__init__()
        self._said = 0.0

    def say(self, text: str) -> None:
        """Print a step that has just ended."""
        now = self.elapsed()
        super().say(f"{text} ({now - self._said:.1f} s)")
        self._said = now


class Stage:
    """One case of a scene; its clock starts with it."""

    def __init__(self, lab: Lab, request: Request) -> None:
        self.lab, self.request, self.images = lab, request, request.images
        self.cloud = openstack.connect()
        self.cloud.compute.default_microversion = MICROVERSION
        self.clock = StepClock()

    @contextlib.contextmanager
    def server(self, name: str) -> Iterator[DemoServer]:
        """Give a server to be booted; its images and volumes go at the end."""
        with contextlib.ExitStack() as undo:
            yield DemoServer(self.lab, self.cloud, undo, name)
        self.clock.say("cleaned up")

    def rescue_and_back(
        self,
        server: DemoServer,
        before: Inventory,
        image: str,
        password: str | None = None,
        in_rescue: Callable[[], None] = lambda: None,
    ) -> Result:
        """Rescue and unrescue; return what the guest saw each time.

        :param in_rescue: is called once the rescue guest is up
        """
        server.rescue(image, password)
        self.clock.say("status RESCUE")
        rescued = server.inventory()
        self.clock.say(f"rescue guest booted the image {rescued.image!r}")
        in_rescue()
        server.unrescue()
        self.clock.say("status ACTIVE")
        after = server.inventory()
        self.clock.say(f"guest booted the image {after.image!r}")
        return Result(before, rescued, after)

    def head(self, text: str) -> None:
        """Print what is shown below, and with which driver."""
        print(f"\n{self.lab.options.driver}: {text}\n")

    def show(self, result: Result, image: str = "rescue") -> list[str]:
        """Print what moved; return what is not as it should be.

        :param image: the one that should have booted in rescue
        """
        for line in result.lines(colour=sys.stdout.isatty()):
            print(line)
        booted = result.rescued.boot_disk
        print(f"\nthe rescue booted from: {place(booted) if booted else 'not known'}")
        print(f"moved: {result.moved} of {result.originals}")
        return list(result.faults(image))

    def verdict(self, faults: Iterable[str]) -> bool:
        """Print the faults; return whether there are none."""
        found = list(faults)
        for fault in found:
            print(f"fault: {fault}")
        sys.stdout.flush()
        return not found
