# SPDX-License-Identifier: Apache-2.0
"""Rescue images that are real: Nova's Glance client, image cache and backends."""

import hashlib
import subprocess
from pathlib import Path
from typing import Any

import fixtures
from nova import conf as nova_conf
from nova.virt.libvirt import imagebackend
from nova.virt.libvirt import utils as libvirt_utils

from tests.functional.glance import GlanceServer
from tests.functional.server import ServerTestBase

# Nova's fixtures replace these in every functional test with libvirt.
_REAL = {
    "nova.virt.libvirt.imagebackend.Backend.backend": imagebackend.Backend.backend,
    "nova.virt.libvirt.utils.fetch_image": libvirt_utils.fetch_image,
    "nova.virt.libvirt.utils.fetch_raw_image": libvirt_utils.fetch_raw_image,
}
CONF = nova_conf.CONF


class ImagesTestBase(ServerTestBase):
    """A server, and images that Nova fetches over HTTP into the host's cache.

    There is no ``image`` yet: tests add theirs with `add_image`.
    """

    images_type = "qcow2"
    has_config_drive = False

    def make_server(self) -> None:
        self.server = self.create_server(self.has_config_drive)
        for name, function in _REAL.items():
            self.useFixture(fixtures.MonkeyPatch(name, function))
        self.flags(images_type=self.images_type, group="libvirt")
        self.glance_server = self.useFixture(GlanceServer(self.glance.images))
        self.flags(api_servers=[self.glance_server.url], num_retries=0, group="glance")
        self.files_made = Path(self.useFixture(fixtures.TempDir()).path)

    def pause(self) -> None:
        self.glance_server.stop()

    def resume(self) -> None:
        self.glance_server.start()

    def add_image(
        self,
        data: bytes,
        disk_format: str = "raw",
        properties: dict[str, str] | None = None,
        **fields: Any,
    ) -> str:
        """Add a rescue image to Glance and return its id."""
        image_id = self.create_rescue_image()
        image = self.glance.images[image_id] | {
            "disk_format": disk_format,
            "properties": {"hw_rescue_bus": "usb"} | (properties or {}),
        }
        del image["size"]
        self.glance_server.add(image | fields, data)
        return image_id

    def add_cached_image(self, data: bytes) -> str:
        """Add an image that Nova's image cache has already; return its id."""
        image_id = self.add_image(data)
        cached = self.base_of(image_id)
        cached.parent.mkdir(exist_ok=True)
        cached.write_bytes(data)
        return image_id

    def make(self, image_format: str, *options: str, size: str = "1M") -> bytes:
        """Return an image that qemu-img makes."""
        path = self.files_made / "image"
        self.run_tool("qemu-img", "create", "-f", image_format, *options, path, size)
        return path.read_bytes()

    def run_tool(self, *command: str | Path) -> str:
        """Run a program and return its output."""
        return subprocess.run(
            command, check=True, capture_output=True, text=True
        ).stdout

    def base_of(self, image_id: str) -> Path:
        """Return the path that an image has in Nova's image cache."""
        name = hashlib.sha1(image_id.encode()).hexdigest()
        return Path(CONF.instances_path, CONF.image_cache.subdirectory_name, name)

    def content_of(self, disk: Path) -> bytes:
        """Return what a guest reads from a disk of any format."""
        out = self.files_made / "raw"
        self.run_tool("qemu-img", "convert", "-O", "raw", disk, out)
        return out.read_bytes()

    def observed(self) -> dict[str, Any]:
        return super().observed() | {"host": self.files_of_host()}

    def files_of_host(self) -> dict[str, str]:
        """Return the digest of each file of the host's instances and image cache.

        Lock files are left out, because Nova never removes them.
        """
        root = Path(CONF.instances_path)
        return {
            str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(root.rglob("*"))
            if path.is_file() and path.relative_to(root).parts[0] != "locks"
        }
