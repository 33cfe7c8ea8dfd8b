# SPDX-License-Identifier: Apache-2.0
"""The stage of a scene: the lab, its API, the images, a clock, and the verdict."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator

from lab.clock import StepClock
from lab.config import Lab
from lab.demo.request import Request
from lab.demo.server import DemoServer
from lab.demo.table import Result
from lab.servers.api import connect
from lab.servers.factory import ServerFactory
from stable_rescue.tempest.guest.comparison import place
from stable_rescue.tempest.guest.inventory import Inventory


class Stage:
    """The stage of one case; the clock starts with it."""

    def __init__(self, lab: Lab, request: Request) -> None:
        self.lab, self.request, self.images = lab, request, request.images
        self.cloud = connect()
        self.clock = StepClock()

    def hardware(self, machine: str) -> dict[str, str]:
        """Return the image properties of servers with a machine type."""
        firmware = self.request.firmware
        return {
            "hw_machine_type": machine,
            **({"hw_firmware_type": "uefi"} if firmware == "uefi" else {}),
        }

    @contextlib.contextmanager
    def server(self, name: str) -> Iterator[DemoServer]:
        """Give a server that can be booted; delete its images and volumes later."""
        with contextlib.ExitStack() as cleanup:
            yield DemoServer(ServerFactory(self.lab, self.cloud, cleanup, name))
        self.clock.say("cleaned up")

    def rescue_and_unrescue(
        self,
        server: DemoServer,
        before: Inventory,
        image: str,
        password: str | None = None,
        in_rescue: Callable[[], None] = lambda: None,
    ) -> Result:
        """Rescue and unrescue; return the inventories of all three guests.

        :param in_rescue: called when the rescue guest has booted
        """
        server.rescue(image, password)
        self.clock.say("status RESCUE")
        rescued = server.inventory()
        self.clock.say(f"rescue guest booted from the image {rescued.image!r}")
        in_rescue()
        server.unrescue()
        self.clock.say("status ACTIVE")
        after = server.inventory()
        self.clock.say(f"guest booted from the image {after.image!r}")
        return Result(before, rescued, after)

    def head(self, text: str) -> None:
        """Print a heading: the driver, and what is shown below."""
        firmware = "UEFI, " if self.request.firmware == "uefi" else ""
        print(f"\n{self.lab.options.driver}: {firmware}{text}\n")

    def show(self, result: Result, image: str = "rescue") -> list[str]:
        """Print which devices moved; return the faults.

        :param image: the image that the rescue guest should have booted from
        """
        for line in result.lines(color=sys.stdout.isatty()):
            print(line)
        disk = result.rescued.boot_disk
        print(f"\nthe rescue guest booted from: {place(disk) if disk else 'unknown'}")
        print(f"moved: {result.moved} of {result.originals}")
        return list(result.faults(image))

    def verdict(self, faults: Iterable[str]) -> bool:
        """Print the faults; return True if the list is empty."""
        listed = list(faults)
        for fault in listed:
            print(f"fault: {fault}")
        sys.stdout.flush()
        return not listed
