# SPDX-License-Identifier: Apache-2.0
"""StorPool: the stock drivers of OpenStack with a stand-in array (lab/storpool)."""

from __future__ import annotations

import sys
from typing import ClassVar

from lab.config import ADDRESS, PORTS
from lab.openstack import listening
from lab.service import VolumeBackend


class StorPool(VolumeBackend):
    """The array is a stand-in, but its volumes are real block devices of the host."""

    name = "storpool"
    volume_type: ClassVar[str] = "storpool"

    def configure(self) -> None:
        etc = self.lab.etc("storpool")
        token = self.lab.secret("storpool")
        self.write(etc / "token", f"{token}\n")
        values = {
            "address": ADDRESS,
            "port": str(PORTS["storpool"]),
            "token": token,
        }
        self.render("storpool.conf", etc / "storpool.conf", values)

    def start(self) -> None:
        etc = self.lab.etc("storpool")
        # /etc is private to the sandbox, so the file is copied from inside. os-brick
        # reads it in nova-compute and in cinder-volume.
        source, target = str(etc / "storpool.conf"), "/etc/storpool.conf"
        self.run(["install", "--mode=0644", source, target])
        self.spawn(
            [
                *(sys.executable, "-m", "lab.storpool"),
                *("--folder", str(self.lab.data("storpool"))),
                *("--port", str(PORTS["storpool"])),
                *("--token-file", str(etc / "token")),
            ],
            env={"PYTHONPATH": str(self.lab.repository)},
        )

    def ready(self) -> bool:
        return self.running() and listening(self.lab, PORTS["storpool"])

    def cinder_backend_section(self) -> dict[str, str]:
        return {
            "volume_driver": "cinder.volume.drivers.storpool.StorPoolDriver",
            "storpool_replication": "1",
        }


SERVICES = (StorPool,)
