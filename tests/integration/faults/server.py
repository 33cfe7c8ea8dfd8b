# SPDX-License-Identifier: Apache-2.0
"""A server of a real libvirt, as it was, and a nova-compute that can be killed."""

import hashlib
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nova.compute import vm_states

from stable_rescue.domain import recognise
from stable_rescue.domain.document import Domain
from tests.integration import base, variables
from tests.integration.faults import compute
from tests.integration.scene import MIB, Scene

#: Of the filesystem, and the variable that says where its image is best.
SIZE = 64 * MIB
MEMORY = "STABLE_RESCUE_MEMORY"
# One partition that may be booted, from sector 1 on.
_MBR = bytes(446) + b"\x80\0\2\0\x83\0\3\0\1\0\0\0\x10\0\0\0" + bytes(48)
_MBR += b"\x55\xaa"


class ServerTestBase(base.TestCase):
    """A server whose guest has no system to boot."""

    running = True
    firmware = "bios"

    def setUp(self) -> None:
        super().setUp()
        instances = self._new_filesystem()
        scene = Scene(instances, "q35", self.firmware)
        scene.folder = instances / scene.uuid
        scene.folder.mkdir()
        self._make_disks(scene)
        image = instances / "rescue.img"
        image.write_bytes(_MBR + bytes(MIB - len(_MBR)))
        if self.firmware == "uefi":
            variables.seed(scene.nvram, image)
        self.scene, self.server = scene, base.Server(scene)
        self.addCleanup(self.server.remove)
        self.compute = compute.Compute(instances, scene.uuid, image)
        self.status = vm_states.ACTIVE if self.running else vm_states.STOPPED
        self.power = compute.RUNNING if self.running else compute.SHUTDOWN
        if self.running:
            self.server.start()
        self.compute.database.write(
            vm_state=self.status, task_state=None, power_state=self.power
        )
        self.before = self.observed()

    def _new_filesystem(self) -> Path:
        """Return the root of a filesystem that can run full without harm to others."""
        folder = base.new_folder(self.addCleanup, os.environ.get(MEMORY))
        image, root = folder / "filesystem", folder / "instances"
        root.mkdir()
        with image.open("wb") as stream:
            stream.truncate(SIZE)
        # Nothing of it is kept for root, and it holds what the tests expect alone.
        subprocess.run(["mkfs.ext4", "-q", "-m", "0", image], check=True)
        subprocess.run(["mount", "-o", "loop", image, root], check=True)
        self.addCleanup(subprocess.run, ["umount", root], check=True)
        (root / "lost+found").rmdir()
        return root

    def _make_disks(self, scene: Scene) -> None:
        names = ["disk.eph0", "disk.swap", "disk.config"]
        paths = [scene.folder / name for name in names]
        for path in [*paths, *(scene.volume(number) for number in range(1, 7))]:
            path.write_bytes(os.urandom(MIB))
        create = ["qemu-img", "create", "-q", "-f", "qcow2", scene.folder / "disk"]
        subprocess.run([*create, "64M"], check=True)

    def observed(self) -> dict[str, Any]:
        """Return all that a rescue may not change of a server."""
        domain = self.server.domain
        return {
            "definition": base.definition(domain),
            "running": bool(domain.isActive()),
            "files": self.checksums(),
            "secrets": self.connection.listSecrets(),
        }

    def checksums(self) -> dict[str, str]:
        """Return the sha256 of each file of the server."""
        return {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(self.scene.folder.iterdir())
            if path != self.scene.console
        }

    def assert_at_rest(self) -> None:
        row = self.compute.database.read()
        self.assertIsNone(row["task_state"])
        if row["vm_state"] != vm_states.RESCUED:
            self.assert_itself()
            return
        self.assertTrue(self.server.domain.isActive())
        rescue = Domain.parse(self.server.domain.XMLDesc(0))
        self.assertIsNotNone(recognise.rescue_disk(rescue))
        # Its own files are as they were: its UEFI variables, too, which it runs on a
        # copy of.
        self.assertLessEqual(self.before["files"].items(), self.checksums().items())
        copy = (self.scene.folder / "nvram.rescue").exists()
        self.assertEqual(self.firmware == "uefi", copy)

    def assert_itself(self) -> None:
        self.assertEqual(
            {
                "vm_state": self.status,
                "task_state": None,
                "power_state": self.power,
            },
            self.compute.database.read(),
        )
        self.assertEqual(self.before, self.observed())

    def act(self, action: str, observe: Callable[[str], None] | None = None) -> None:
        """Do an action that has to succeed."""
        code, said = self.compute.act(action, observe)
        self.assertEqual(0, code, said[-3000:])
