# SPDX-License-Identifier: Apache-2.0
"""What the lab's one host has: definitions, guests, files, and things of a rescue."""

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
#: What a definition has only while its server is rescued (stable_rescue and Nova).
RESCUE_SIGN = "disk.rescue"
#: Nova's own, beside the instances': its image cache and its locks.
_NOVAS = ("_base", "locks")
#: virtlogd's, which may start another one at any time.
_CONSOLE = "console.log"


class Host:
    """Looked at from inside the sandbox. Nothing here asks OpenStack."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._instances = lab.data("nova/instances")

    def virsh(self, *words: str) -> str:
        """Run virsh; return what it printed.

        :raises subprocess.CalledProcessError: where it fails
        """
        return run("virsh", "--connect", URI, "--quiet", *words)

    def definition(self, domain: str) -> str:
        """Return the inactive definition, without the secrets that it has."""
        return self.virsh("dumpxml", "--inactive", domain)

    def running(self, domain: str) -> bool:
        """Say whether the guest runs."""
        return self.virsh("domstate", domain).strip() == "running"

    def rescued(self, domain: str) -> bool:
        """Say whether what libvirt runs, or would run, has a rescue disk."""
        return RESCUE_SIGN in self.virsh("dumpxml", domain) + self.definition(domain)

    def process(self, domain: str) -> str:
        """Return the pid of the guest's QEMU, "" for none."""
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
        """Return what the guest has printed since it was started."""
        try:
            path = self._instances / server_id / _CONSOLE
            return path.read_text(errors="replace")
        except OSError:
            return ""

    def phase(self, server_id: str) -> str:
        """Return how far a rescue has come, as its record says."""
        try:
            text = (self._instances / server_id / RECORD).read_text()
            return str(json.loads(text)["state"])
        except (OSError, ValueError, KeyError):
            return "no record"

    def has_record(self, server_id: str) -> bool:
        """Say whether there is a record of a rescue."""
        return (self._instances / server_id / RECORD).exists()

    def things(self) -> frozenset[str]:
        """Return what the host has that a rescue could leave behind, in words."""
        found = {
            f"domain {name}" for name in self.virsh("list", "--all", "--name").split()
        }
        found |= {
            f"directory {path.name}"
            for path in self._instances.iterdir()
            if path.name not in _NOVAS
        }
        found |= {
            f"secret {line.split()[0]}"
            for line in self.virsh("secret-list").splitlines()
            if line.strip()
        }
        found |= {
            f"loop device {device}" for device in loops.backed_by(self._lab.state)
        }
        variables = Path("/var/lib/libvirt/qemu/nvram")
        if variables.is_dir():
            found |= {f"NVRAM {path.name}" for path in variables.iterdir()}
        if "ceph" in self._lab.options.backends:
            found |= {f"pool image {name}" for name in self._pool_images()}
        if "storpool" in self._lab.options.backends:
            found |= set(self._storpool())
        return frozenset(found)

    def _pool_images(self) -> list[str]:
        on_files = self._lab.options.images_type != "rbd"
        return [
            f"{pool}/{name}"
            for pool in ((ceph.VOLUMES,) if on_files else ceph.POOLS)
            for name in run("rbd", "--id", ceph.USER, "ls", pool).split()
        ]

    def _storpool(self) -> list[str]:
        path = self._lab.data("storpool") / "state.json"
        if not path.exists():
            return []  # it has had no volume yet
        state = json.loads(path.read_text())
        return [
            f"StorPool volume {volume['name']} attached {volume['attached']}"
            for volume in state["volumes"]
        ]


def run(*argv: str) -> str:
    """Run a command; return what it printed.

    :raises subprocess.CalledProcessError: where it fails
    :raises subprocess.TimeoutExpired: where it hangs, for its service is gone
    """
    return subprocess.run(
        argv, check=True, capture_output=True, text=True, timeout=SECONDS
    ).stdout
