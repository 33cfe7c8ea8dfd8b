# SPDX-License-Identifier: Apache-2.0
"""``tools/lab demo``: rescue a server through the API and ask its guest what it sees.

A *scene* shows one thing, such as a server with a hotplug history. Each scene has
*cases*, such as one for each machine type. The *stage* gives a scene what it needs: the
lab, its API, images and a clock. A *marker* is a sector that a guest writes to a disk,
so that the next guest can prove that the disk is the same. A *fault* is a line that
says what went wrong.

A scene needs OpenStack's client libraries and the lab's loopback. So ``play`` runs in
the sandbox with the virtual environment's Python.
"""

from __future__ import annotations

import argparse

from lab import guest
from lab.config import Lab
from lab.demo.request import Request

#: name: what it shows. Each scene is a module of lab/demo/scenes.
SCENES = {
    "hotplug": "a server with a hotplug history: which devices move",
    "storage": "eight volumes and every kind of disk, rescued on each bus",
    "volume-backed": "a server with a root volume and an encrypted volume",
    "password": "the rescue password in the config drive",
    "stale": "a rescue that fails, then a rescue from another image",
    "medium": "the files of a rescue, and that unrescue removes them",
    "refusals": "rescues that are refused while the guest keeps running",
    "evidence": "a rescue system whose writes reach none of the server's disks",
    "manual": "the commands of the manual",
    "downtime": "how long a guest is off, beside libvirt alone",
    "restart": "nova-compute killed during a rescue and started again",
    "host-reboot": "the compute host fails, with servers in every state, and boots",
    "start": "what the package costs nova-compute at its start",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``demo`` to ``parser``."""
    parser.add_argument(
        "--scene",
        default="hotplug",
        choices=SCENES,
        help="; ".join(f"{name}: {what}" for name, what in SCENES.items())
        + " (default: %(default)s)",
    )
    parser.add_argument(
        "--bus",
        default="",
        help="hw_rescue_bus of the rescue image (default: depends on the scene)",
    )
    parser.add_argument(
        "--device",
        default="disk",
        help="hw_rescue_device of the rescue image (default: %(default)s)",
    )
    parser.add_argument(
        "--machine",
        default="q35",
        choices=("q35", "pc"),
        help="the server's machine type (default: %(default)s)",
    )
    parser.add_argument(
        "--firmware",
        default="bios",
        choices=("bios", "uefi"),
        help="the server's firmware; uefi needs --hypervisor trixie, because libvirt 9"
        " refuses the definition that Nova 34 writes (default: %(default)s)",
    )
    parser.add_argument(
        "--all",
        action="store_true",
        help="play all cases of the scene instead of one",
    )
    parser.add_argument("--keep", action="store_true", help="leave the lab up")


def add_reboot_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``host-reboot``: the scene of this name, with all cases."""
    demo = argparse.ArgumentParser()
    add_arguments(demo)
    defaults = vars(demo.parse_args([]))
    parser.add_argument("--keep", action="store_true", help="leave the lab up")
    parser.set_defaults(**defaults | {"scene": "host-reboot", "all": True})


def main(lab: Lab, arguments: argparse.Namespace) -> int:
    """Play a scene in a lab that is up; return 0 if there are no faults."""
    request = Request(
        scene=arguments.scene,
        machine=arguments.machine,
        firmware=arguments.firmware,
        device=arguments.device,
        bus=arguments.bus,
        every_case=arguments.all,
        images=guest.build(lab.cache / "guest", lab.cache),
    )
    command = [lab.bin("python"), "-m", "lab.demo.play"]
    command += [str(lab.state), request.to_json()]
    environment = {**lab.credentials(), "PYTHONPATH": str(lab.repository)}
    return lab.sandbox.call(command, env=environment)
