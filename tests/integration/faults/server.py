# SPDX-License-Identifier: Apache-2.0
"""A server of a real libvirt, and a nova-compute that a test can kill."""

import hashlib
import os
import subprocess
from pathlib import Path
from typing import Any, ClassVar

from stable_rescue.domain.document import Domain
from tests.faults.assertions import NovaState, RecoveryAssertions
from tests.integration import base, variables
from tests.integration.faults.compute import Compute
from tests.integration.scene import MIB, Scene

#: The size of the filesystem of the instances.
SIZE = 64 * MIB
#: The environment variable that names a folder in memory for that filesystem.
MEMORY = "STABLE_RESCUE_MEMORY"
# A guest that runs code without an end would take the CPU from the tests.
_HALT = b"\xfa\xf4\xeb\xfd"  # cli; hlt; jmp to the hlt
# The CPU begins 16 bytes before the end of its firmware.
_HALTING_FIRMWARE = bytes(64 * 1024 - 16) + _HALT.ljust(16, b"\0")
# One bootable partition, from sector 1 on.
_PARTITION = b"\x80\0\2\0\x83\0\3\0\1\0\0\0\x10\0\0\0"
_MBR = _HALT.ljust(446, b"\0") + _PARTITION.ljust(64, b"\0") + b"\x55\xaa"


class FaultTestBase(RecoveryAssertions, base.TestCase):
    """A server whose guest halts at once, and a nova-compute for it."""

    running: ClassVar[bool] = True
    #: True if the guest runs SeaBIOS or OVMF, which takes most of QEMU's CPU time.
    boots: ClassVar[bool] = False
    firmware: ClassVar[str] = "bios"

    def setUp(self) -> None:
        super().setUp()
        self.folder = base.new_folder(self.addCleanup, os.environ.get(MEMORY))
        self.instances = self._new_filesystem()
        image = self.instances / "rescue.img"
        image.write_bytes(_MBR.ljust(MIB, b"\0"))
        self.scene = self._new_scene(image)
        if self.firmware == "uefi":
            variables.seed(self.scene.nvram, image)
        self.server = base.Server(self.scene)
        self.addCleanup(self.server.remove)
        if self.running:
            self.server.start()
        self.compute = Compute(self.folder, self.instances, self.scene.uuid, image)
        self.compute.create_server(self.running)
        self.before = self.observed()

    def _new_filesystem(self) -> Path:
        """Return the root of a small filesystem, which a test can fill."""
        image, root = self.folder / "filesystem", self.folder / "instances"
        root.mkdir()
        with image.open("wb") as stream:
            stream.truncate(SIZE)
        # No blocks are reserved for root, so that it is full for root as well.
        subprocess.run(["mkfs.ext4", "-q", "-m", "0", image], check=True)
        subprocess.run(["mount", "-o", "loop", image, root], check=True)
        self.addCleanup(subprocess.run, ["umount", root], check=True)
        (root / "lost+found").rmdir()
        return root

    def _new_scene(self, image: Path) -> Scene:
        """Return the scene of a server, with the files of its disks.

        :param image: becomes the content of the root disk
        """
        scene = Scene(self.instances, "q35", self.firmware)
        scene.folder = self.instances / scene.uuid
        scene.folder.mkdir()
        if not self.boots:
            scene.loader = self.folder / "firmware"
            scene.loader.write_bytes(_HALTING_FIRMWARE)
        names = ["disk.eph0", "disk.swap", "disk.config"]
        paths = [scene.folder / name for name in names]
        for path in [*paths, *(scene.volume(number) for number in range(1, 7))]:
            path.write_bytes(os.urandom(MIB))
        convert = ["qemu-img", "convert", "-O", "qcow2", image, scene.folder / "disk"]
        subprocess.run(convert, check=True)
        return scene

    def nova_state(self) -> NovaState:
        return self.compute.state()

    def live_definition(self) -> str:
        return str(self.server.domain.XMLDesc(0))

    def observed(self) -> dict[str, Any]:
        return {
            "next": self.server.definition(),
            "running": bool(self.server.domain.isActive()),
            "files": self.checksums(),
            "secrets": self._volume_secrets(),
        }

    def _volume_secrets(self) -> list[str]:
        """Return the secrets of volumes; other tests may define others meanwhile."""
        return [
            secret.UUIDString()
            for secret in self.connection.listAllSecrets()
            if secret.usageID().startswith("volume-")
        ]

    def checksums(self) -> dict[str, str]:
        """Return the sha256 of each file of the server, but for its console."""
        return {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(self.scene.folder.iterdir())
            if path != self.scene.console
        }

    def assert_rescue_runs(self) -> None:
        """Assert that the rescue runs and that the server's files have not changed.

        The UEFI variables are among them, because the rescue runs on a copy (E6).
        """
        super().assert_rescue_runs()
        self.assertLessEqual(self.before["files"].items(), self.checksums().items())
        copy = self.scene.folder / "nvram.rescue"
        self.assertEqual(self.firmware == "uefi", copy.exists())
        nvram = Domain.parse(self.live_definition()).root.findtext("os/nvram")
        self.assertEqual(str(copy) if copy.exists() else None, nvram)
