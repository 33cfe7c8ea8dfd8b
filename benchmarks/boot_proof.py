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
import subprocess
import time
import types
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

# This chooses threads for Nova, before Nova is imported.
from tests.integration import base, variables

# isort: split
from nova import conf as nova_conf

from stable_rescue import conf
from stable_rescue.domain import recognize
from stable_rescue.domain.document import Domain
from stable_rescue.domain.medium import Medium
from stable_rescue.virt import boot_proof

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
class Proofs:
    """Guests that are watched; in the role of the driver, and of what it reports to."""

    servers: dict[str, base.Server] = field(default_factory=dict)
    results: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    kibibytes: dict[str, int] = field(default_factory=dict)

    def block_stats(self, instance: Any, target: str) -> list[int]:
        """Return libvirt's counters of a disk."""
        return list(self.servers[instance.uuid].domain.blockStats(target))

    def booted(self, _driver: Any, instance: Any, result: str, _problem: Any) -> None:
        """Note a result, and end the guest."""
        server = self.servers[instance.uuid]
        self.kibibytes[instance.uuid] = (
            self.block_stats(instance, server.rescue_target())[1] // _KIB
        )
        self.results[instance.uuid] = result
        server.stop()

    def report_later(
        self, _context: Any, instance: Any, _name: str, seconds: float, _problem: Any
    ) -> None:
        """Note when the result was known."""
        self.seconds[instance.uuid] = seconds


def medium_of(cleanup: Callable[..., object], image: str, device: str) -> Medium:
    """Return a rescue medium with an image."""
    if image in ("bootable", "slow"):
        return base.rescue_medium(cleanup, device)
    path = base.new_folder(cleanup) / "disk.rescue"
    if device == "cdrom":
        path.write_bytes(base.images().rescue_iso.read_bytes())
    else:
        source = str(base.images().rescue_qcow2)
        subprocess.run(
            ["qemu-img", "convert", "-O", "raw", source, str(path)], check=True
        )
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
    limits = disk.makeelement("iotune", {}, None)
    limits.append(disk.makeelement("read_bytes_sec", {}, None))
    limits[0].text = str(_SLOW)
    disk.append(limits)
    return draft.to_xml()


def prove(firmware: str, device: str, bus: str) -> list[str]:
    """Return a line for each image.

    :raises AssertionError: if the proof has no result long after verify_timeout
    """
    proofs = Proofs()
    watch = boot_proof.BootWatch(proofs)
    uuids = {}
    with contextlib.ExitStack() as stack:
        for name in ("booted", "report_later"):
            owner = boot_proof.evidence if name == "booted" else boot_proof
            stack.enter_context(mock.patch.object(owner, name, getattr(proofs, name)))
        for image in IMAGES:
            server = base.new_server(stack.callback, _MACHINE, firmware=firmware)
            if firmware == "uefi":
                variables.seed(server.scene.nvram, base.images().original_raw)
            medium = medium_of(stack.callback, image, device)
            derived = base.derive(server.definition(), device, bus, medium)
            rescue = derived.rescue
            server.define(slowed(rescue) if image == "slow" else rescue.to_xml())
            uuids[image] = server.scene.uuid
            proofs.servers[server.scene.uuid] = server
        for server in proofs.servers.values():
            server.start()
            instance = types.SimpleNamespace(uuid=server.scene.uuid)
            watch.begin(None, instance, server.definition())
        deadline = time.monotonic() + CONF.stable_rescue.verify_timeout + _MARGIN
        while len(proofs.seconds) < len(IMAGES):
            if time.monotonic() > deadline:
                raise AssertionError(f"no result for all images: {proofs.results}")
            time.sleep(0.1)
    return [
        f"{device:6} {bus:7} {image:9} {proofs.results[uuid]:11}"
        f"{proofs.seconds[uuid]:6.1f} s {proofs.kibibytes[uuid]:7} KiB"
        for image, uuid in uuids.items()
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
