# SPDX-License-Identifier: Apache-2.0
"""Faults while the rescue medium is a file, or an image in a Ceph pool.

Nova's Glance client, image cache and image backends are real. Faults strike while the
medium and the config drive of the rescue are made and removed, and after that.
"""

from pathlib import Path
from typing import Any

import fixtures

from tests.faults.engine import EveryFault
from tests.functional import images
from tests.functional.faults.base import FaultTestBase, RowTestBase

MEDIUM = b"rescue" * 200_000


class ServerWithImages(FaultTestBase, images.ImagesTestBase):
    """A server with a config drive; Nova fetches its rescue image over HTTP."""

    has_config_drive = True

    def make_server(self) -> None:
        super().make_server()
        (self.folder(self.server) / "disk.config").write_bytes(b"original config drive")
        self.image = self.add_image(MEDIUM)
        # Fill Nova's image cache, which keeps the image.
        self.rescue_server()
        self.unrescue_server()


class FilesTest(EveryFault, ServerWithImages, RowTestBase):
    action, running = "rescue", True
    situation = "medium in a file"
    unique_steps = frozenset(
        {"build the medium in a temporary file", "make the config drive private"}
    )
    other_steps = frozenset({"make the config drive", "start a domain"})

    def assert_rescue_runs(self) -> None:
        super().assert_rescue_runs()
        medium = self.folder(self.server) / "disk.rescue"
        drive = self.folder(self.server) / "disk.config.rescue"
        self.assertEqual(MEDIUM, self.content_of(medium)[: len(MEDIUM)])
        self.assertEqual(0o600, drive.stat().st_mode & 0o777)


class Pool:
    """A Ceph pool in memory, in place of Nova's RBDDriver."""

    pool, rbd_user, ceph_conf = "vms", None, ""

    def __init__(self) -> None:
        self.images: dict[str, bytes] = {}

    def exists(self, name: str) -> bool:
        return name in self.images

    def size(self, name: str) -> int:
        return len(self.images[name])

    def import_image(self, base: str, name: str) -> None:
        assert name not in self.images, "rbd import fails if the image exists"
        self.images[name] = Path(base).read_bytes()

    def remove_image(self, name: str) -> None:
        self.images.pop(name, None)

    def cleanup_volumes(self, chosen: Any) -> None:
        for name in [name for name in self.images if chosen(name)]:
            del self.images[name]

    def is_cloneable(self, _location: Any, _image: Any) -> bool:
        return False  # Glance keeps its images elsewhere.

    def get_mon_addrs(self) -> tuple[list[str], list[str]]:
        return ["192.0.2.9"], ["6789"]


class ServerWithPool(ServerWithImages):
    """A server whose rescue disks go to a Ceph pool."""

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


class OnRbd:
    """While the server is rescued, its medium and config drive are in the pool."""

    situation = "medium on RBD"

    def assert_rescue_runs(self) -> None:
        super().assert_rescue_runs()
        server = self.server["id"]
        self.assertEqual(MEDIUM, self.pool.images[f"{server}_disk.rescue"])
        self.assertIn(f"{server}_disk.config.rescue", self.pool.images)


class RescueOnRbdTest(OnRbd, EveryFault, ServerWithPool, RowTestBase):
    action, running = "rescue", True
    unique_steps = frozenset({"remove RBD images"})
    other_steps = frozenset(
        {"fetch the rescue disk", "make the config drive", "start a domain"}
    )


class UnrescueOnRbdTest(OnRbd, EveryFault, ServerWithPool, RowTestBase):
    action, running = "unrescue", True
    unique_steps = frozenset({"remove RBD images"})
    other_steps = frozenset({"start a domain"})
