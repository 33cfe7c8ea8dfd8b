# SPDX-License-Identifier: Apache-2.0
"""Nova's API, scheduler, conductor and compute, with StableRescueDriver.

Libvirt is Nova's fixture (F28): it allocates no addresses and accepts every bus, so
these tests prove nothing about addresses. The API's answers and the files are real.
"""

import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import fixtures
from nova import context, service
from nova.tests import fixtures as nova_fixtures
from nova.tests.functional.api import client
from nova.tests.functional.libvirt import base
from oslo_utils import uuidutils

from stable_rescue import activation
from tests.fixtures import (
    ApiPasteFixture,
    OneRouterFixture,
    TwoDefinitionsFixture,
)
from tests.patience import PatientMixin
from tests.shared_setup import SharedSetUpMixin, stop_timers


class RescueTestBase(SharedSetUpMixin, PatientMixin, base.ServersTestBase):
    """A compute host with StableRescueDriver, and images to rescue with."""

    microversion = "2.87"
    compute_driver = activation.COMPUTE_DRIVER

    def setUp(self) -> None:
        self.useFixture(ApiPasteFixture())
        self.useFixture(OneRouterFixture())
        self.useFixture(TwoDefinitionsFixture())
        stop_timers(self)
        super().setUp()
        self.cinder = self.useFixture(nova_fixtures.CinderFixture(self))
        self.useFixture(
            fixtures.MockPatch(
                "nova.virt.libvirt.imagebackend._update_utime_ignore_eacces"
            )
        )
        # Nova's fixture defines no machine type; libvirt always does.
        self.flags(hw_machine_type=["x86_64=pc"], group="libvirt")
        self.start_compute()
        self.context = context.get_admin_context()

    def _setup_compute_service(self) -> None:
        self.flags(compute_driver=self.compute_driver)
        managers = dict(service.SERVICE_MANAGERS)
        self.useFixture(fixtures.MonkeyPatch("nova.service.SERVICE_MANAGERS", managers))
        if self.compute_driver == activation.COMPUTE_DRIVER:
            activation.activate()

    def create_rescue_image(self, status: str = "active", **properties: str) -> str:
        """Create an image with properties; return its id."""
        now = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
        image: dict[str, Any] = {
            "id": uuidutils.generate_uuid(),
            "name": "rescue",
            "created_at": now,
            "updated_at": now,
            "deleted_at": None,
            "deleted": False,
            "status": status,
            "container_format": "bare",
            "disk_format": "raw",
            "size": 1024,
            "min_ram": 0,
            "min_disk": 0,
            "protected": False,
            "visibility": "public",
            "tags": [],
            "properties": properties,
        }
        self.glance.create(None, image)
        return str(image["id"])

    def _build_server(self, *args: Any, **options: Any) -> dict[str, Any]:
        """Describe a server with the first image and flavor of Nova's fixtures.

        Nova's helper would ask the API for all of them.
        """
        first = {"image_uuid": next(iter(self.glance.images)), "flavor_id": "1"}
        return dict(super()._build_server(*args, **first | options))

    def create_server(self, config_drive: bool = False) -> dict[str, Any]:
        """Return a new server that is ACTIVE and has its directory on the host."""
        wanted = self._build_server(networks="none") | {"config_drive": config_drive}
        return self.boot(wanted)

    def boot(self, wanted: dict[str, Any]) -> dict[str, Any]:
        """Return the new server that a request describes, once it is ACTIVE."""
        server = self.api.post_server({"server": wanted})
        server = self._wait_for_state_change(server, "ACTIVE")
        # Nova's fixtures do not create this directory.
        self.folder(server).mkdir(parents=True, exist_ok=True)
        return server

    def folder(self, server: dict[str, Any]) -> Path:
        """Return the instance's directory."""
        return Path(base.CONF.instances_path, server["id"])

    def rescue(self, server: dict[str, Any], image: str) -> dict[str, Any]:
        """Request a rescue and return the API's answer."""
        body = {"rescue": {"rescue_image_ref": image}}
        return dict(self.api.post_server_action(server["id"], body))

    def unrescue(self, server: dict[str, Any]) -> None:
        """Request an unrescue."""
        self.api.post_server_action(server["id"], {"unrescue": None})

    def error_of(self, request: Callable[..., Any], *args: Any) -> str:
        """Assert that a request fails, and return the text that the user reads."""
        # Nova's fixtures have the API wait for the host, whose error it answers with.
        error = self.assertRaises(client.OpenStackApiException, request, *args)
        return str(error.response.text)

    @property
    def manager(self) -> Any:
        """The compute manager; a restart of nova-compute makes another."""
        return self.computes["compute1"].manager

    @property
    def driver(self) -> Any:
        """The compute driver; a restart of nova-compute makes another."""
        return self.computes["compute1"].driver

    def libvirt_connection(self) -> Any:
        """Return the connection to Nova's libvirt fixture."""
        return self.driver._host.get_connection()

    def definition(self, server: dict[str, Any], flags: int = 0) -> str:
        """Return a server's definition; without flags, the live one if it runs."""
        domain = self.libvirt_connection().lookupByUUIDString(server["id"])
        return str(domain.XMLDesc(flags))

    def files(self, server: dict[str, Any]) -> list[str]:
        """Return the names of the files in a server's directory."""
        return sorted(path.name for path in self.folder(server).iterdir())

    def events(self, server: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the events of a server's newest action, as administrators see them.

        Nova's default policy shows the details of an event to administrators only.
        """
        action = self.api.get_instance_actions(server["id"])[0]
        details = self.admin_api.api_get(
            f"/servers/{server['id']}/os-instance-actions/{action['request_id']}"
        ).body
        return list(details["instanceAction"]["events"])

    def last_event(self, server: dict[str, Any]) -> dict[str, Any]:
        """Return the last event of a server's newest action."""
        return max(self.events(server), key=lambda event: event["start_time"])

    def power_offs(self) -> mock.Mock:
        """Return a mock that counts the driver's power-offs and passes them on."""
        return self.useFixture(
            fixtures.MockPatchObject(
                self.driver, "power_off", wraps=self.driver.power_off
            )
        ).mock
