# SPDX-License-Identifier: Apache-2.0
"""What the lab's one host has: definitions, guests, files, leftovers of a rescue."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from lab import loops
from lab.config import Lab
from lab.services import ceph
from lab.services.libvirtd import URI

SECONDS = 60.0
RECORD = "stable_rescue.json"
#: Only a rescue definition has a disk of this name, for stable and for stock rescue.
RESCUE_DISK = "disk.rescue"
#: Nova's image cache and locks, in the same folder as the instances.
_NOT_INSTANCES = ("_base", "locks")
#: virtlogd writes these files and may start another one at any time.
_CONSOLE = "console.log"


class Host:
    """The host as seen from inside the sandbox; nothing here uses OpenStack's API."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._instances = lab.data("nova/instances")

    def virsh(self, *words: str) -> str:
        """Run virsh; return what it printed.

        :raises subprocess.CalledProcessError: if it fails
        :raises subprocess.TimeoutExpired: if libvirtd does not answer
        """
        return run("virsh", "--connect", URI, "--quiet", *words)

    def definition(self, domain: str) -> str:
        """Return the inactive definition, without secrets."""
        return self.virsh("dumpxml", "--inactive", domain)

    def running(self, domain: str) -> bool:
        """Return True if the guest runs."""
        return self.virsh("domstate", domain).strip() == "running"

    def rescued(self, domain: str) -> bool:
        """Return True if the live or the inactive definition has a rescue disk."""
        return RESCUE_DISK in self.virsh("dumpxml", domain) + self.definition(domain)

    def process(self, domain: str) -> str:
        """Return the pid of the guest's QEMU, "" if it does not run."""
        try:
            return Path(f"/run/libvirt/qemu/{domain}.pid").read_text().strip()
        except OSError:
            return ""

    def files(self, server_id: str) -> frozenset[str]:
        """Return the names of the files in an instance's directory."""
        folder = self._instances / server_id
        names = (str(path.relative_to(folder)) for path in folder.rglob("*"))
        return frozenset(n for n in names if not n.startswith(_CONSOLE))

    def console(self, server_id: str) -> str:
        """Return what the guest has printed since it started."""
        try:
            path = self._instances / server_id / _CONSOLE
            return path.read_text(errors="replace")
        except OSError:
            return ""

    def phase(self, server_id: str) -> str:
        """Return the state that the record of a stable rescue is in."""
        try:
            text = (self._instances / server_id / RECORD).read_text()
            return str(json.loads(text)["state"])
        except (OSError, ValueError, KeyError):
            return "no record"

    def has_record(self, server_id: str) -> bool:
        """Return True if there is a record of a stable rescue."""
        return (self._instances / server_id / RECORD).exists()

    def resources(self) -> frozenset[str]:
        """Return everything that a rescue could leave behind, one line for each."""
        resources = {
            f"domain {name}" for name in self.virsh("list", "--all", "--name").split()
        }
        resources |= {
            f"directory {path.name}"
            for path in self._instances.iterdir()
            if path.name not in _NOT_INSTANCES
        }
        resources |= {
            f"secret {line.split()[0]}"
            for line in self.virsh("secret-list").splitlines()
            if line.strip()
        }
        resources |= {
            f"loop device {device}" for device in loops.backed_by(self._lab.state)
        }
        variables = Path("/var/lib/libvirt/qemu/nvram")
        if variables.is_dir():
            resources |= {f"NVRAM {path.name}" for path in variables.iterdir()}
        if "ceph" in self._lab.options.backends:
            resources |= {f"pool image {name}" for name in self._pool_images()}
        if "storpool" in self._lab.options.backends:
            resources |= set(self._storpool_volumes())
        return frozenset(resources)

    def _pool_images(self) -> list[str]:
        disks_in_files = self._lab.options.images_type != "rbd"
        return [
            f"{pool}/{name}"
            for pool in ((ceph.VOLUMES,) if disks_in_files else ceph.POOLS)
            for name in run("rbd", "--id", ceph.USER, "ls", pool).split()
        ]

    def _storpool_volumes(self) -> list[str]:
        path = self._lab.data("storpool") / "state.json"
        if not path.exists():
            return []  # the array has had no volume yet
        state = json.loads(path.read_text())
        return [
            f"StorPool volume {volume['name']} attached {volume['attached']}"
            for volume in state["volumes"]
        ]


def run(*argv: str) -> str:
    """Run a command; return what it printed.

    :raises subprocess.CalledProcessError: if it fails
    :raises subprocess.TimeoutExpired: if it hangs because its service is gone
    """
    return subprocess.run(
        argv, check=True, capture_output=True, text=True, timeout=SECONDS
    ).stdout
