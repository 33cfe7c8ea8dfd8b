# SPDX-License-Identifier: Apache-2.0
"""The scene of the demo, played in the sandbox.

Arguments: state folder, original disk, rescue disk, rescue ISO, then cases, each as
MACHINE/DEVICE/BUS.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import openstack
from openstack.exceptions import SDKException

from lab.config import Lab
from lab.demo.server import DemoServer
from lab.demo.table import Result
from lab.errors import LabError
from lab.runner import Clock
from stable_rescue.tempest.guest.comparison import place


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


def play(lab: Lab, images: Sequence[str], case: str) -> Result:
    """Play one case and clean up; return what the guest saw.

    :raises LabError: where a step fails
    """
    original, rescue_disk, rescue_iso = images
    machine, device, bus = case.split("/")
    clock = StepClock()
    cloud = openstack.connect()
    # The newest that Nova 31 has: all of a server's fields in one answer.
    cloud.compute.default_microversion = "2.90"
    with contextlib.ExitStack() as undo:
        server = DemoServer(lab, cloud, undo, f"demo-{machine}-{device}-{bus or 'any'}")
        own = server.image(original, "qcow2", hw_machine_type=machine)
        properties = {"hw_rescue_device": device}
        if bus:
            properties["hw_rescue_bus"] = bus
        if device == "cdrom":
            rescue = server.image(rescue_iso, "iso", **properties)
        else:
            rescue = server.image(rescue_disk, "qcow2", **properties)
        clock.say("images uploaded")
        volumes = [server.volume(kind) for kind in server.types]
        clock.say(f"volumes made: {', '.join(server.types) or 'none'}")
        with server.booted(own):
            result = _scene(server, volumes, rescue, clock)
    clock.say("cleaned up")
    return result


def _scene(
    server: DemoServer, volumes: list[object], rescue: str, clock: Clock
) -> Result:
    clock.say("server ACTIVE: root, ephemeral, swap, config drive, port")
    server.inventory()
    clock.say("guest booted")
    _history(server, volumes, clock)
    server.cold_boot()
    before = server.inventory()
    clock.say(f"cold boot by libvirt: {len(before.devices)} devices and functions")
    server.rescue(rescue)
    clock.say("status RESCUE")
    rescued = server.inventory()
    clock.say(f"rescue guest booted the image {rescued.image!r}")
    server.unrescue()
    clock.say("status ACTIVE")
    after = server.inventory()
    clock.say(f"guest booted the image {after.image!r}")
    return Result(before, rescued, after)


def _history(server: DemoServer, volumes: list[object], clock: Clock) -> None:
    """Give the server a history: attach all, detach one, attach two, plug a port."""
    for volume in volumes:
        server.attach(volume)
    if volumes:
        clock.say("volumes attached")
        server.detach(volumes[0])
        for kind in server.types:
            server.attach(server.volume(kind))
        clock.say("hotplug history: one detached, two attached")
    if server.lab.options.network:
        server.plug()
        clock.say("hotplug history: a port plugged")


def show(result: Result, driver: str, case: str) -> bool:
    """Print what was found; return whether all is well."""
    faults = list(result.faults())
    machine, device, bus = case.split("/")
    print(f"\n{driver}: {machine}, rescue by {device} on {bus or 'the default bus'}\n")
    for line in result.lines(colour=sys.stdout.isatty()):
        print(line)
    booted = result.rescued.boot_disk
    print(f"\nthe rescue booted from: {place(booted) if booted else 'not known'}")
    for fault in faults:
        print(f"fault: {fault}")
    print(f"moved: {result.moved} of {result.originals}", flush=True)
    return not faults


def main(words: Sequence[str]) -> int:
    """Play every case; return 0 if all is well in each."""
    lab = Lab.open(Path(words[0]))
    images, cases = words[1:4], words[4:]
    verdicts = []
    for case in cases:
        try:
            verdicts.append(show(play(lab, images, case), lab.options.driver, case))
        except (LabError, SDKException, subprocess.CalledProcessError) as error:
            print(f"demo: {case}: {error}", file=sys.stderr)
            verdicts.append(False)
    if len(cases) > 1:
        print(f"\n{sum(verdicts)} of {len(cases)} cases well")
    return 0 if all(verdicts) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
