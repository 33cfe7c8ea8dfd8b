# SPDX-License-Identifier: Apache-2.0

"""Mixins that run Nova's functional test cases with StableRescueDriver.

A test case of Nova is subclassed and never copied, so its assertions apply unchanged.
"""

import importlib
import io
from typing import Any
from unittest import mock

import fixtures
from nova import service
from nova.tests import fixtures as nova_fixtures
from nova.tests.functional.libvirt.base import ServersTestBase

from stable_rescue import activation
from tests.fixtures import ApiPasteFixture, NetworkDiskFixture, OneRouterFixture
from tests.patience import PatientMixin
from tests.shared_setup import SharedSetUpMixin, stop_timers


class StableRescueMixin(PatientMixin):
    """Runs a functional test case of Nova with StableRescueDriver and its manager.

    The mixin comes before Nova's class in the list of bases.
    """

    compute_driver = activation.COMPUTE_DRIVER

    def setUp(self) -> None:
        managers = mock.patch.dict(service.SERVICE_MANAGERS)
        managers.start()
        self.addCleanup(managers.stop)
        self.useFixture(ApiPasteFixture())
        self.useFixture(OneRouterFixture())
        self.useFixture(NetworkDiskFixture())
        super().setUp()

    def flags(self, **options: Any) -> None:
        """Set options, but replace any compute_driver by StableRescueDriver."""
        if "compute_driver" in options:
            options["compute_driver"] = activation.COMPUTE_DRIVER
        super().flags(**options)

    def start_service(self, name: str, *args: Any, **options: Any) -> service.Service:
        """Start a service; activate stable rescue before nova-compute."""
        if name != "compute":
            return super().start_service(name, *args, **options)
        activation.activate()
        compute = super().start_service(name, *args, **options)
        driver = importlib.import_module("stable_rescue.virt.driver")
        manager = importlib.import_module("stable_rescue.compute.manager")
        self.assertIsInstance(compute.manager, manager.ComputeManager)
        self.assertIsInstance(compute.driver, driver.StableRescueDriver)
        return compute


class SharedStableRescueMixin(SharedSetUpMixin, StableRescueMixin):
    """Also makes the tests of a class share its set-up."""

    def setUp(self) -> None:
        stop_timers(self)
        super().setUp()


class FakeLibvirtMixin(StableRescueMixin):
    """Runs a test case that Nova runs with its fake driver, without libvirt.

    The fixtures are the same as in nova.tests.functional.libvirt.base.
    """

    def start_service(self, name: str, *args: Any, **options: Any) -> service.Service:
        """Start a service; fake libvirt before nova-compute."""
        if name == "compute":
            self.fake_libvirt(options["host"])
        return super().start_service(name, *args, **options)

    def fake_libvirt(self, host: str) -> None:
        """Replace libvirt and everything that changes the host."""
        instances = self.useFixture(fixtures.TempDir()).path
        self.flags(instances_path=instances)
        self.useFixture(nova_fixtures.LibvirtImageBackendFixture())
        self.useFixture(nova_fixtures.CGroupsFixture())
        self.useFixture(nova_fixtures.LibvirtFixture())
        self.useFixture(nova_fixtures.OSBrickFixture())
        driver = "nova.virt.libvirt.driver"
        for name, replacement in {
            f"{driver}.LibvirtDriver._create_image": {"return_value": (False, False)},
            f"{driver}.LibvirtDriver._get_local_gb_info": {
                "return_value": {"total": 128, "used": 44, "free": 84}
            },
            f"{driver}.libvirt_utils.is_valid_hostname": {"return_value": True},
            f"{driver}.libvirt_utils.file_open": {
                "side_effect": lambda *_args, **_options: io.BytesIO(b"")
            },
            "nova.virt.libvirt.utils.get_instance_path": {
                "side_effect": lambda *_args, **_options: instances
            },
            "nova.virt.libvirt.imagebackend._update_utime_ignore_eacces": {},
            "nova.privsep.utils.supports_direct_io": {"return_value": True},
            "nova.virt.libvirt.host.Host.get_online_cpus": {
                "return_value": set(range(16))
            },
            # The events of the fake domains need the threads of an initialized host.
            "nova.virt.libvirt.host.Host.get_connection": {
                "return_value": ServersTestBase._get_connection(self, hostname=host)
            },
        }.items():
            self.useFixture(fixtures.MockPatch(name, **replacement))
