# SPDX-License-Identifier: Apache-2.0
"""Faults where the medium is a file, or an image in a Ceph pool.

Nova's Glance client, image cache and image backends are real. Faults strike where the
medium and the rescue's config drive are made and removed, and behind them.
"""

from pathlib import Path
from typing import Any

import fixtures

from tests.functional import images
from tests.functional.faults.scenario import CellsOfAllFaults, FaultTestBase, Scenario

MEDIUM = b"rescue" * 200_000


class ServerWithImages(FaultTestBase, images.ImagesTestBase):
    """A server with a config drive whose rescue image comes over HTTP."""

    has_config_drive = True

    def make_server(self) -> None:
        super().make_server()
        (self.folder(self.server) / "disk.config").write_bytes(b"its own config drive")
        self.image = self.add_image(MEDIUM)
        # Nova's image cache keeps what it has fetched.
        self.rescue_server()
        self.unrescue_server()


class FilesTest(CellsOfAllFaults, ServerWithImages, Scenario):
    action, running = "rescue", True
    situation = "medium a file"
    own_steps = frozenset(
        {"build the medium in a temporary file", "make the config drive private"}
    )
    other_steps = frozenset({"make the config drive", "start a domain"})

    def assert_rescued(self) -> None:
        super().assert_rescued()
        medium, drive = (
            self.folder(self.server) / name
            for name in ("disk.rescue", "disk.config.rescue")
        )
        self.assertEqual(MEDIUM, self.content_of(medium)[: len(MEDIUM)])
        self.assertEqual(0o600, drive.stat().st_mode & 0o777)


class Pool:
    """Nova's RBDDriver, of a pool in memory: what images it has, by name."""

    pool, rbd_user, ceph_conf = "vms", None, ""

    def __init__(self) -> None:
        self.images: dict[str, bytes] = {}

    def exists(self, name: str) -> bool:
        return name in self.images

    def size(self, name: str) -> int:
        return len(self.images[name])

    def import_image(self, base: str, name: str) -> None:
        # As rbd import.
        assert name not in self.images
        self.images[name] = Path(base).read_bytes()

    def remove_image(self, name: str) -> None:
        self.images.pop(name, None)

    def cleanup_volumes(self, chosen: Any) -> None:
        for name in list(filter(chosen, self.images)):
            del self.images[name]

    def is_cloneable(self, _location: Any, _image: Any) -> bool:
        """Glance's images are elsewhere."""
        return False

    def get_mon_addrs(self) -> tuple[list[str], list[str]]:
        return ["192.0.2.9"], ["6789"]


class ServerWithPool(ServerWithImages):
    images_type = "rbd"

    def setUp(self) -> None:
        self.pool = Pool()
        self.pool.images["0f4b_disk"] = b"of another server"
        self.useFixture(
            fixtures.MonkeyPatch("nova.storage.rbd_utils.RBDDriver", lambda: self.pool)
        )
        super().setUp()

    def observed(self) -> dict[str, Any]:
        return super().observed() | {"pool": dict(self.pool.images)}


class Rbd:
    """A medium and a config drive in a pool."""

    situation = "medium on RBD"

    def assert_rescued(self) -> None:
        super().assert_rescued()
        server = self.server["id"]
        self.assertEqual(MEDIUM, self.pool.images[f"{server}_disk.rescue"])
        self.assertIn(f"{server}_disk.config.rescue", self.pool.images)


class RescueOnRbdTest(Rbd, CellsOfAllFaults, ServerWithPool, Scenario):
    action, running = "rescue", True
    own_steps = frozenset({"remove RBD images"})
    other_steps = frozenset(
        {"fetch the rescue disk", "make the config drive", "start a domain"}
    )


class UnrescueOnRbdTest(Rbd, CellsOfAllFaults, ServerWithPool, Scenario):
    action, running = "unrescue", True
    own_steps = frozenset({"remove RBD images"})
    other_steps = frozenset({"start a domain"})
