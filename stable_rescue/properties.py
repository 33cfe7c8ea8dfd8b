# SPDX-License-Identifier: Apache-2.0
"""The image properties of a stable rescue, and their allowed values."""

from collections.abc import Mapping

from stable_rescue import exception

DEVICES = ("disk", "cdrom", "floppy")
BUSES = ("virtio", "scsi", "usb", "sata", "ide", "fdc")
#: What happens to the server's NICs during the rescue.
NETWORKS = ("keep", "quarantine")
#: What happens to what the rescue system writes to the server's disks.
WRITES = ("keep", "discard")
#: What happens to the memory of the server's own system.
MEMORIES = ("none", "dump")
ALLOWED = {
    "hw_rescue_device": DEVICES,
    "hw_rescue_bus": BUSES,
    "hw_rescue_network": NETWORKS,
    "hw_rescue_writes": WRITES,
    "hw_rescue_memory": MEMORIES,
}
#: An image with one of these asks for a stable rescue.
CHOOSING = ("hw_rescue_device", "hw_rescue_bus")


def check(given: Mapping[str, object], owner: str = "rescue image") -> None:
    """Check the values of the rescue properties; other properties are ignored.

    :param owner: what has the properties, for the message
    :raises Refused: if a value is not allowed; the reason lists the allowed values
    """
    for name, allowed in ALLOWED.items():
        if name in given and given[name] not in allowed:
            raise exception.Refused(
                f"{owner} has {name}={given[name]!r}; allowed are {', '.join(allowed)}"
            )
