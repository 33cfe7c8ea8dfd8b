# SPDX-License-Identifier: Apache-2.0
"""Rescues whose images are real: Nova's Glance client, image cache and backends."""

import hashlib
import subprocess
from pathlib import Path
from typing import Any

import fixtures
from nova.tests.functional.api import client
from nova.virt.libvirt import imagebackend
from nova.virt.libvirt import utils as libvirt_utils

from tests.functional import base
from tests.functional.glance import GlanceServer

# Nova's fixture takes their place in every functional test with libvirt.
_REAL = {
    "nova.virt.libvirt.imagebackend.Backend.backend": imagebackend.Backend.backend,
    "nova.virt.libvirt.utils.fetch_image": libvirt_utils.fetch_image,
    "nova.virt.libvirt.utils.fetch_raw_image": libvirt_utils.fetch_raw_image,
}
CONF = base.base.CONF


class ImagesTestBase(base.RescueTestBase):
    """A server, and images that are fetched over HTTP into the host's cache."""

    images_type = "qcow2"
    has_config_drive = False

    def setUp(self) -> None:
        super().setUp()
        self.server = self.create_server(self.has_config_drive)
        for name, function in _REAL.items():
            self.useFixture(fixtures.MonkeyPatch(name, function))
        self.flags(images_type=self.images_type, group="libvirt")
        self.glance_server = self.useFixture(GlanceServer(self.glance.images))
        self.flags(api_servers=[self.glance_server.url], num_retries=0, group="glance")
        self.files_made = Path(self.useFixture(fixtures.TempDir()).path)

    def add_image(
        self,
        data: bytes,
        disk_format: str = "raw",
        properties: dict[str, str] | None = None,
        **fields: Any,
    ) -> str:
        """Add an image to rescue with; return its id."""
        image_id = self.create_rescue_image()
        image = self.glance.images[image_id] | {
            "disk_format": disk_format,
            "properties": {"hw_rescue_bus": "usb"} | (properties or {}),
        }
        del image["size"]
        self.glance_server.add(image | fields, data)
        return image_id

    def make(self, image_format: str, *options: str, size: str = "1M") -> bytes:
        """Return an image as qemu-img makes it."""
        path = self.files_made / "image"
        self.run_tool("qemu-img", "create", "-f", image_format, *options, path, size)
        return path.read_bytes()

    def run_tool(self, *command: str | Path) -> str:
        """Run a program of the host; return what it prints."""
        return subprocess.run(
            command, check=True, capture_output=True, text=True
        ).stdout

    def base_of(self, image_id: str) -> Path:
        """Return where Nova's image cache has an image."""
        name = hashlib.sha1(image_id.encode()).hexdigest()
        return Path(CONF.instances_path, CONF.image_cache.subdirectory_name, name)

    def content_of(self, disk: Path) -> bytes:
        """Return what a guest reads from a disk, whatever its format."""
        out = self.files_made / "raw"
        self.run_tool("qemu-img", "convert", "-O", "raw", disk, out)
        return out.read_bytes()

    def everything(self) -> dict[str, str]:
        """Return every file of the host's instances and image cache, by its content.

        But for Nova's lock files, which it never removes.
        """
        root = Path(CONF.instances_path)
        return {
            str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(root.rglob("*"))
            if path.is_file() and path.relative_to(root).parts[0] != "locks"
        }

    def rescued(self, image_id: str) -> None:
        self.rescue(self.server, image_id)
        self._wait_for_state_change(self.server, "RESCUE")

    def unrescued(self) -> None:
        self.api.post_server_action(self.server["id"], {"unrescue": None})
        self._wait_for_state_change(self.server, "ACTIVE")

    def refused(self, image_id: str) -> str:
        """Ask for a rescue that is refused; return the reason that the user reads.

        The guest is not powered off, its definition the same, and there is no file
        more or less on the host.
        """
        before, own = self.everything(), self.definition(self.server)
        power_off = self.power_offs()
        told = self.assertRaises(
            client.OpenStackApiException, self.rescue, self.server, image_id
        ).response.text
        self._wait_for_server_parameter(
            self.server, {"status": "ACTIVE", "OS-EXT-STS:task_state": None}
        )
        power_off.assert_not_called()
        self.assertEqual(own, self.definition(self.server))
        self.assertEqual(before, self.everything())
        return str(told)
