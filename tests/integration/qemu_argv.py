# SPDX-License-Identifier: Apache-2.0
"""The devices on the command line that libvirt gives to QEMU."""

import itertools
import json
import re
from typing import Any

from tests.integration import base

# A word of a command line, and the parts of a word that are quoted.
_QUOTED = re.compile(r"'([^']*)'|\\(.)")
_WORD = re.compile(r"(?:'[^']*'|\\.|\S)+")


def devices(xml: str) -> tuple[dict[str, dict[str, Any]], list[tuple[str, int]]]:
    """Return the devices on QEMU's command line, and the boot orders.

    The devices are their arguments by id, without the boot order. The boot orders are
    pairs of id and number; a floppy's belongs to its controller, isa-fdc. Nothing is
    started (F27).
    """
    command = base.connection().domainXMLToNative("qemu-argv", xml)
    found, boot_orders = {}, []
    for option, argument in itertools.pairwise(_words(command)):
        if option == "-global" and argument.startswith("isa-fdc.bootindex"):
            boot_orders.append(("isa-fdc", int(argument.split("=")[1])))
        if option == "-device":
            arguments = json.loads(argument)
            # The companions of a USB controller have no id.
            name = arguments.get("id") or (
                f"{arguments['driver']} {arguments.get('addr')}"
            )
            for key in ("bootindex", "bootindexA", "bootindexB"):
                if key in arguments:
                    order = arguments.pop(key)
                    boot_orders.append((name.removesuffix(" None"), order))
            arguments.pop("drive", None)  # This name contains a counter.
            found[name] = arguments
    return found, boot_orders


def block_nodes(xml: str) -> dict[str, dict[str, Any]]:
    """Return the block nodes on QEMU's command line by name. Nothing is started."""
    command = base.connection().domainXMLToNative("qemu-argv", xml)
    nodes = [
        json.loads(argument)
        for option, argument in itertools.pairwise(_words(command))
        if option == "-blockdev"
    ]
    return {node["node-name"]: node for node in nodes}


def _words(command: str) -> list[str]:
    """Split a command as shlex.split does, which takes half of a case's time."""
    words = _WORD.findall(command)
    return [_QUOTED.sub(lambda part: part[1] or part[2] or "", w) for w in words]
