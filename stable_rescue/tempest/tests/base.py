# SPDX-License-Identifier: Apache-2.0
"""What all tests need: rescue images, and rescue and unrescue through the API."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any, ClassVar

from tempest import config
from tempest.lib import exceptions
from tempest.lib.common import rest_client
from tempest.lib.common.utils import data_utils, test_utils

from stable_rescue.tempest import images
from stable_rescue.tempest.tests.device_assertions import DeviceAssertions
from stable_rescue.tempest.tests.shared_server import SharedServerTest

CONF = config.CONF


class BaseRescueTest(SharedServerTest, DeviceAssertions):
    """Base class of the tests that rescue the server of their class."""

    # The first microversion that can rescue a server whose root disk is a volume.
    min_microversion = "2.87"

    #: For rescue images that are downloaded.
    folder: ClassVar[Path]

    @classmethod
    def skip_checks(cls) -> None:
        super().skip_checks()
        if not CONF.compute_feature_enabled.rescue:
            raise cls.skipException("[compute-feature-enabled] rescue is not set")
        if not CONF.compute_feature_enabled.stable_rescue:
            raise cls.skipException(
                "[compute-feature-enabled] stable_rescue is not set"
            )
        if not CONF.service_available.glance:
            raise cls.skipException("[service_available] glance is not set")

    @classmethod
    def resource_setup(cls) -> None:
        super().resource_setup()
        folder = tempfile.TemporaryDirectory(prefix="stable-rescue-")
        cls.addClassResourceCleanup(folder.cleanup)
        cls.folder = Path(folder.name)

    def require_case(self, device: str, bus: str) -> None:
        """Skip the test if [stable_rescue] cases does not have a device on a bus."""
        if f"{device}/{bus}" not in CONF.stable_rescue.cases:
            raise self.skipException(
                f"[stable_rescue] cases does not have {device}/{bus}"
            )

    def first_case(self, device: str | None = None) -> tuple[str, str]:
        """Return device and bus of the first case; skip the test if there is none.

        :param device: if given, cases with other devices do not count
        """
        for case in split_cases(CONF.stable_rescue.cases):
            if device in (None, case[0]):
                return case
        raise self.skipException(f"[stable_rescue] cases has no {device or 'case'}")

    def require_option(self, name: str) -> str:
        """Return the value of an option; skip the test if it is empty."""
        value = CONF.stable_rescue[name]
        if not value:
            raise self.skipException(f"[stable_rescue] {name} is not set")
        return str(value)

    def rescue_image(self, device: str, bus: str, **properties: Any) -> str:
        """Return the id of a new image that asks for a rescue device on a bus."""
        return self.upload_image(
            "cdrom_image" if device == "cdrom" else "disk_image",
            hw_rescue_device=device,
            hw_rescue_bus=bus,
            **properties,
        )

    def upload_image(self, option: str, **properties: Any) -> str:
        """Return the id of a new image, with the content that an option names."""
        source = self.require_option(option)
        path = images.local_file(self.images_client, source, self.folder)
        disk_format = CONF.stable_rescue.disk_format
        if option == "cdrom_image":
            disk_format = "iso"
        image = self.create_empty_image(disk_format, **properties)
        images.upload(self.images_client, image, path)
        return image

    def create_empty_image(self, disk_format: str, **properties: Any) -> str:
        """Return the id of a new image without content; delete it after the test."""
        name = data_utils.rand_name(
            prefix=CONF.resource_name_prefix, name=type(self).__name__
        )
        image = images.create(self.images_client, name, disk_format, **properties)
        self.addCleanup(
            test_utils.call_and_ignore_notfound_exc,
            self.images_client.delete_image,
            image,
        )
        return image

    def rescue(self, server: str, image: str, **options: Any) -> str:
        """Rescue a server and return the adminPass of the response.

        A test that fails later leaves the server in RESCUE; the next test of the class
        then creates a new server.

        :raises AssertionError: if the server is not in RESCUE afterwards
        """
        response = self.servers_client.rescue_server(
            server, rescue_image_ref=image, **options
        )
        status = self.wait_until_idle(server, response)
        self.assertEqual(
            "RESCUE",
            status,
            f"the rescue of server {server} was refused or rolled back; request"
            f" {request_id(response)}",
        )
        return str(response["adminPass"])

    def unrescue(self, server: str, status: str = "ACTIVE") -> None:
        """Unrescue a server; fail if it does not have a status afterwards."""
        response = self.servers_client.unrescue_server(server)
        self.assertEqual(
            status,
            self.wait_until_idle(server, response),
            f"status of server {server} after unrescue; request {request_id(response)}",
        )

    def wait_until_idle(self, server: str, response: rest_client.ResponseBody) -> str:
        """Wait until a server has no task in progress; return its status.

        :param response: of the request that started the task
        :raises tempest.lib.exceptions.TimeoutException: if the task takes longer than
            [compute] build_timeout
        """
        deadline = time.monotonic() + CONF.compute.build_timeout
        while True:
            shown = self.servers_client.show_server(server)["server"]
            task_state = shown.get("OS-EXT-STS:task_state")
            if task_state is None:
                return str(shown["status"])
            if time.monotonic() > deadline:
                raise exceptions.TimeoutException(
                    f"Server {server} is still in task state {task_state} after"
                    f" {CONF.compute.build_timeout} seconds; request"
                    f" {request_id(response)}"
                )
            time.sleep(CONF.compute.build_interval)


def split_cases(cases: list[str]) -> list[tuple[str, str]]:
    """Return device and bus of cases such as "disk/virtio"."""
    pairs = [case.partition("/") for case in cases]
    return [(device, bus) for device, _, bus in pairs]


def request_id(response: rest_client.ResponseBody) -> str:
    """Return the id of a request, which Nova's logs have too."""
    return str(response.response.get("x-openstack-request-id"))
