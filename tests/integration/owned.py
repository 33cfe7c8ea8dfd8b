# SPDX-License-Identifier: Apache-2.0
"""Starts the rescues of a server as production does, and prints who owns its files.

The files belong to a user of nova-compute, QEMU runs as libvirt-qemu, and libvirt gives
it the files. The guests stay paused: QEMU has opened its files when a guest starts.

This is a program because of libvirt's embedded driver, which has a configuration of its
own in the folder that is the only argument, and an event loop from the beginning.
"""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import libvirt

from stable_rescue import plan
from stable_rescue.domain import overlays
from stable_rescue.domain.document import Domain
from stable_rescue.domain.medium import Medium
from stable_rescue.domain.nvram import NvramCopy
from stable_rescue.domain.overlays import Overlays
from stable_rescue.storage import medium, nvram
from tests.integration import base
from tests.integration.scene import Scene, overlay
from tests.integration.unprivileged import NOBODY

QEMU_CONF = """\
user = "libvirt-qemu"
group = "libvirt-qemu"
dynamic_ownership = 1
remember_owner = 1
security_driver = "none"
cgroup_controllers = []
namespaces = []
stdio_handler = "file"
"""


def embed(root: Path) -> None:
    """Let all of base use libvirt's embedded driver, with its files in ``root``."""
    (root / "etc").mkdir(parents=True)
    (root / "etc" / "qemu.conf").write_text(QEMU_CONF)
    libvirt.virEventRegisterDefaultImpl()
    threading.Thread(target=_run_events, daemon=True).start()
    connection = libvirt.open(f"qemu:///embed?root={root}")
    base.connection = lambda: connection


def _run_events() -> None:
    while True:
        libvirt.virEventRunDefaultImpl()


def give_to_nova(*paths: Path) -> None:
    """Give files to the user that stands for nova-compute's."""
    for path in paths:
        os.chown(path, NOBODY, NOBODY)


def owners(folder: Path) -> dict[str, int]:
    """Return who owns each file."""
    return {path.name: path.stat().st_uid for path in folder.iterdir()}


def remove_as_nova(paths: list[Path]) -> None:
    """Remove files as the user that stands for nova-compute's.

    :raises subprocess.CalledProcessError: if one cannot be removed
    """
    remove = ["rm", "--force", "--", *map(str, paths)]
    subprocess.run(remove, check=True, user=NOBODY, group=NOBODY, extra_groups=[])


class Owned:
    """A UEFI server; its files and its rescues' files belong to nova-compute."""

    def __init__(self, root: Path) -> None:
        folder = root / "instance"
        folder.mkdir()
        folder.chmod(0o755)
        self.images = dataclasses.replace(
            base.images(),
            original_qcow2=shutil.copy(base.images().original_qcow2, root),
            rescue_qcow2=shutil.copy(base.images().rescue_qcow2, root),
        )
        self.scene = Scene(folder, "q35", firmware="uefi")
        self.scene.make_disks(self.images)
        give_to_nova(folder, *folder.iterdir())
        self.server = base.Server(self.scene)

    def rescue(self, discard: bool) -> dict[str, Any]:
        """Start a rescue; return who owned the files while it ran."""
        folder = self.scene.folder
        disk, drive = (folder / name for name in medium.NAMES)
        overlay(self.images.rescue_qcow2, disk)
        drive.write_bytes(bytes(64 * 1024))
        drive.chmod(0o600)
        give_to_nova(disk, drive)
        original = Domain.parse(self.server.definition())
        media = plan.RescueMedia(
            Medium.from_file(str(disk), "qcow2"),
            NvramCopy(str(folder / nvram.NAME)),
            replaces_config_drive=True,
            overlays=Overlays(str(folder)),
        )
        request = plan.RescueRequest("disk", "usb", discard=discard)
        rescue = plan.derive(original, request, media).rescue
        for target in overlays.targets(rescue):
            path = Path(Overlays(str(folder)).overlay_of(target).path)
            overlay(self.images.rescue_qcow2, path)  # the content does not matter
            give_to_nova(path)
        self.server.define(rescue.to_xml())
        self.server.start(paused=True)
        running = owners(folder)
        self.server.stop()
        self.server.define(original.to_xml())
        remove_as_nova([path for path in folder.iterdir() if "rescue" in path.name])
        return {"running": running, "left": sorted(owners(folder))}

    def run_original(self) -> None:
        """Start the original, and stop it."""
        self.server.start(paused=True)
        self.server.stop()


def main(root: Path) -> None:
    """Print what happened to the files of each rescue, as JSON."""
    embed(root / "libvirt")
    owned = Owned(root)
    try:
        owned.run_original()
        answer = {}
        for name, discard in (("keep", False), ("discard", True)):
            answer[name] = owned.rescue(discard)
            owned.run_original()
        print(json.dumps(answer))
    finally:
        owned.server.remove()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
