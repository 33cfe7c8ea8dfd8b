# SPDX-License-Identifier: Apache-2.0
"""Show what the boot proof says of good, slow, blank and damaged images, and when.

This needs root and the sandbox of the integration tests. Run it from the project's
folder::

    python -m lab.sandbox --state .lab/benchmark --libvirtd -- \\
        python -m benchmarks.boot_proof

The guests of a bus start together, and one watch looks at all of them, as in
nova-compute. A guest is ended as soon as the proof has a result.
"""

import argparse
import contextlib
import logging
import shutil
import time
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

# This chooses threads for Nova, before Nova is imported.
from tests.integration import base, variables

# isort: split
from lxml import etree
from nova import conf as nova_conf

from stable_rescue import conf
from stable_rescue.domain import recognize
from stable_rescue.domain.document import Domain
from stable_rescue.domain.medium import Medium
from stable_rescue.virt import boot_proof, evidence

CONF = nova_conf.CONF

_MACHINE = "q35"  # it has all of these buses
PLACES = (("disk", "usb"), ("disk", "virtio"), ("disk", "scsi"), ("cdrom", "sata"))
#: A bootable image, the same on a slow disk, zeros, and one that was cut off.
IMAGES = ("bootable", "slow", "blank", "damaged")
_KIB = 1024
_SLOW = 200 * _KIB  # bytes a second
_KEPT = 256 * _KIB  # of a damaged image: the partition table, or ISO 9660's
_MARGIN = 120.0  # seconds, on top of verify_timeout


@dataclass
class Guest:
    """A guest that is watched, and what the proof says of it, once it does."""

    server: base.Server
    result: str = ""
    kibibytes: int = 0
    seconds: float | None = None


class Guests(dict[str, Guest]):
    """Guests by UUID; in the role of the driver, and of what the proof reports to."""

    def block_stats(self, instance: Any, target: str) -> list[int]:
        """Return libvirt's counters of a disk."""
        return list(self[instance.uuid].server.domain.blockStats(target))

    def booted(self, _driver: Any, instance: Any, result: str, _problem: Any) -> None:
        """Note a result, and end the guest."""
        guest = self[instance.uuid]
        read = self.block_stats(instance, guest.server.rescue_target())[1]
        guest.result, guest.kibibytes = result, read // _KIB
        guest.server.stop()

    def report_later(
        self, _context: Any, instance: Any, _name: str, seconds: float, _problem: Any
    ) -> None:
        """Note when the result was known."""
        self[instance.uuid].seconds = seconds


def medium_of(cleanup: Callable[..., object], image: str, device: str) -> Medium:
    """Return a rescue medium with an image."""
    if image in ("bootable", "slow"):
        return base.rescue_medium(cleanup, device)
    path = base.new_folder(cleanup) / "disk.rescue"
    images = base.images()
    shutil.copy(images.rescue_iso if device == "cdrom" else images.rescue_raw, path)
    _erase(path, 0 if image == "blank" else _KEPT)
    return Medium.from_file(str(path))


def _erase(path: Path, kept: int) -> None:
    size = path.stat().st_size
    with path.open("r+b") as stream:
        stream.truncate(kept)
        stream.truncate(size)


def slowed(rescue: Domain) -> str:
    """Return a rescue definition whose rescue disk is slow."""
    draft = rescue.copy()
    disk = recognize.rescue_disk(draft)
    if disk is None:
        raise AssertionError("the definition has no rescue disk")
    limits = etree.SubElement(disk, "iotune")
    etree.SubElement(limits, "read_bytes_sec").text = str(_SLOW)
    return draft.to_xml()


def prove(firmware: str, device: str, bus: str) -> list[str]:
    """Return a line for each image.

    :raises AssertionError: if the proof has no result long after verify_timeout
    """
    guests = Guests()
    watch = boot_proof.BootWatch(guests)
    with contextlib.ExitStack() as stack:
        for owner, name in ((evidence, "booted"), (boot_proof, "report_later")):
            stack.enter_context(mock.patch.object(owner, name, getattr(guests, name)))
        for image in IMAGES:
            server = base.new_server(stack.callback, _MACHINE, firmware=firmware)
            if firmware == "uefi":
                variables.seed(server.scene.nvram, base.images().original_raw)
            medium = medium_of(stack.callback, image, device)
            rescue = base.derive(server.definition(), device, bus, medium).rescue
            server.define(slowed(rescue) if image == "slow" else rescue.to_xml())
            guests[server.scene.uuid] = Guest(server)
        for uuid, guest in guests.items():
            guest.server.start()
            instance = types.SimpleNamespace(uuid=uuid)
            watch.begin(None, instance, guest.server.definition())
        deadline = time.monotonic() + CONF.stable_rescue.verify_timeout + _MARGIN
        while any(guest.seconds is None for guest in guests.values()):
            if time.monotonic() > deadline:
                raise AssertionError(f"no result for all images: {guests}")
            time.sleep(0.1)
    return [
        f"{device:6} {bus:7} {image:9} {guest.result:11}"
        f"{guest.seconds:6.1f} s {guest.kibibytes:7} KiB"
        for image, guest in zip(IMAGES, guests.values(), strict=True)
    ]


def main() -> None:
    """Prove the boots on each bus in turn, and print the results."""
    parser = argparse.ArgumentParser(description="Show what the boot proof says.")
    parser.add_argument("--firmware", default="bios", choices=("bios", "uefi"))
    parser.add_argument("--timeout", type=int, default=60, help="verify_timeout")
    options = parser.parse_args()
    CONF([], project="nova", default_config_files=[])
    conf.register_opts(CONF)
    logging.disable(logging.WARNING)  # the table says the same
    CONF.set_override("verify_timeout", options.timeout, "stable_rescue")
    print(f"{_MACHINE}, {options.firmware}, verify_timeout {options.timeout}")
    for device, bus in PLACES:
        for line in prove(options.firmware, device, bus):
            print(line, flush=True)


if __name__ == "__main__":
    main()
