# SPDX-License-Identifier: Apache-2.0
"""``tools/lab demo``: a server is rescued through the API, and its guest is asked.

A scene needs OpenStack's client libraries and the lab's loopback, so it is played in
the sandbox by the virtual environment's Python.
"""

from __future__ import annotations

import argparse

from lab import guest
from lab.config import Lab
from lab.demo.request import Request

#: name: what it shows; a module of lab/demo/scenes each.
SCENES = {
    "hotplug": "a server with a hotplug history: what moves",
    "storage": "eight volumes and every disk there is, on each bus",
    "volume-backed": "a root volume, and an encrypted one",
    "password": "--password, in the config drive",
    "stale": "a rescue that fails, then one from another image",
    "medium": "what is made for a rescue, and goes again",
    "refusals": "rescues that cannot be, and a guest that does not notice",
    "restart": "nova-compute killed in the middle, and started again",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the demo's own arguments to ``parser``."""
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
        help="hw_rescue_bus of the rescue image (default: the scene's own)",
    )
    parser.add_argument(
        "--device", default="disk", help="hw_rescue_device (default: %(default)s)"
    )
    parser.add_argument(
        "--machine",
        default="q35",
        choices=("q35", "pc"),
        help="the server's machine type (default: %(default)s)",
    )
    parser.add_argument(
        "--all",
        action="store_true",
        help="all cases of the scene, one after the other, in place of one",
    )
    parser.add_argument(
        "--keep", action="store_true", help="leave the lab up, for a look around"
    )


def main(lab: Lab, arguments: argparse.Namespace) -> int:
    """Play a scene in a lab that is up; return 0 if all was well."""
    request = Request(
        scene=arguments.scene,
        machine=arguments.machine,
        device=arguments.device,
        bus=arguments.bus,
        every_case=arguments.all,
        images=guest.build(lab.cache / "guest", lab.cache),
    )
    command = [lab.bin("python"), "-m", "lab.demo.play"]
    command += [str(lab.state), request.to_json()]
    environment = {**lab.credentials(), "PYTHONPATH": str(lab.repository)}
    return lab.sandbox.call(command, env=environment)
