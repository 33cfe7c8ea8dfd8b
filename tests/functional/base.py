# SPDX-License-Identifier: Apache-2.0
"""Nova's API, scheduler, conductor and compute, with our driver and manager.

Libvirt is Nova's fixture: it allocates no addresses and takes any bus, so nothing
here proves an address; what the API answers, and what is left on disk, is real.
"""

import datetime
from pathlib import Path
from typing import Any
from unittest import mock

import fixtures
from nova import context, service
from nova.tests import fixtures as nova_fixtures
from nova.tests.functional.libvirt import base
from oslo_utils import uuidutils

from stable_rescue import activation
from tests.fixtures import ApiPasteFixture, TwoDefinitionsFixture
from tests.patience import PatientMixin


class RescueTestBase(PatientMixin, base.ServersTestBase):
    """A compute host with our driver, and images to rescue with."""

    microversion = "2.87"
    compute_driver = activation.COMPUTE_DRIVER

    def setUp(self) -> None:
        self.useFixture(ApiPasteFixture())
        self.useFixture(TwoDefinitionsFixture())
        super().setUp()
        self.cinder = self.useFixture(nova_fixtures.CinderFixture(self))
        self.useFixture(
            fixtures.MockPatch(
                "nova.virt.libvirt.imagebackend._update_utime_ignore_eacces"
            )
        )
        # The fixture's domains have no machine type, libvirt's always have one.
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

    def create_server(self, config_drive: bool = False) -> dict[str, Any]:
        """Return a server that is ACTIVE, its directory made as on a real host."""
        wanted = self._build_server(networks="none") | {"config_drive": config_drive}
        server = self.api.post_server({"server": wanted})
        server = self._wait_for_state_change(server, "ACTIVE")
        self.folder(server).mkdir(parents=True, exist_ok=True)
        return server

    def folder(self, server: dict[str, Any]) -> Path:
        """Return the instance's directory."""
        return Path(base.CONF.instances_path, server["id"])

    def rescue(self, server: dict[str, Any], image: str) -> dict[str, Any]:
        """Ask for a rescue through the API; return its answer."""
        body = {"rescue": {"rescue_image_ref": image}}
        return dict(self.api.post_server_action(server["id"], body))

    def definition(self, server: dict[str, Any], flags: int = 0) -> str:
        """Return what libvirt runs for a server; by its flags, what it starts next."""
        connection = self.computes["compute1"].driver._host.get_connection()
        return str(connection.lookupByUUIDString(server["id"]).XMLDesc(flags))

    def files(self, server: dict[str, Any]) -> list[str]:
        """Return the names of the files of an instance."""
        return sorted(path.name for path in self.folder(server).iterdir())

    def last_event(self, server: dict[str, Any]) -> dict[str, Any]:
        """Return the last event of the newest action."""
        action = self.api.get_instance_actions(server["id"])[0]
        found = self.api.api_get(
            f"/servers/{server['id']}/os-instance-actions/{action['request_id']}"
        ).body["instanceAction"]["events"]
        return dict(max(found, key=lambda event: event["start_time"]))

    def power_offs(self) -> mock.Mock:
        """Return a mock that counts the power-offs, and still does them."""
        driver = self.computes["compute1"].driver
        return self.useFixture(
            fixtures.MockPatchObject(driver, "power_off", wraps=driver.power_off)
        ).mock
