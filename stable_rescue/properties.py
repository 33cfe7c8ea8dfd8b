# SPDX-License-Identifier: Apache-2.0
"""The properties of a rescue image, and the values that they take (DESIGN.md)."""

from collections.abc import Mapping

from stable_rescue import exception

DEVICES = ("disk", "cdrom", "floppy")
BUSES = ("virtio", "scsi", "usb", "sata", "ide", "fdc")
ALLOWED = {"hw_rescue_device": DEVICES, "hw_rescue_bus": BUSES}


def check(given: Mapping[str, object], of: str = "rescue image") -> None:
    """Check the values of those that are given; other properties are passed over.

    :param of: whose properties they are, for the message
    :raises Refused: where one has a value that it cannot have, naming those that
        it can
    """
    for name, allowed in ALLOWED.items():
        if name in given and given[name] not in allowed:
            raise exception.Refused(
                f"{of} has {name}={given[name]!r}; allowed are {', '.join(allowed)}"
            )
