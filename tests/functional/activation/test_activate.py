# SPDX-License-Identifier: Apache-2.0

"""Activation changes the driver's import and the manager, and nothing else."""

import importlib.util
import sys
from unittest import mock

import nova.conf
import os_vif
import os_vif.opts
from nova import service
from oslotest import base

from stable_rescue import activation

CONF = nova.conf.CONF


class ActivateTestCase(base.BaseTestCase):
    """Restores after each test the global state that activation changes."""

    def setUp(self) -> None:
        super().setUp()
        finders = [
            finder
            for finder in sys.meta_path
            if not isinstance(finder, activation.NovaVirtFinder)
        ]
        for patch in (
            mock.patch.object(sys, "meta_path", finders),
            mock.patch.dict(service.SERVICE_MANAGERS),
        ):
            patch.start()
            self.addCleanup(patch.stop)
        service.SERVICE_MANAGERS["nova-compute"] = activation.NOVA_MANAGER

    def configure(self, compute_driver: str) -> None:
        CONF.set_override("compute_driver", compute_driver)
        self.addCleanup(CONF.clear_override, "compute_driver")

    def finders(self) -> list[activation.NovaVirtFinder]:
        return [
            finder
            for finder in sys.meta_path
            if isinstance(finder, activation.NovaVirtFinder)
        ]


class TestFinder(ActivateTestCase):
    def test_finder_answers_for_one_module_name_only(self) -> None:
        finder = activation.NovaVirtFinder()
        for name in ("nova.virt", "nova.virt.stable_rescue.x", "stable_rescue", "os"):
            self.assertIsNone(finder.find_spec(name, None), name)
        spec = finder.find_spec("nova.virt.stable_rescue", None)
        self.assertEqual("nova.virt.stable_rescue", spec.name)
        self.assertEqual(str(activation.MODULE_FILE), spec.origin)
        self.assertFalse(spec.submodule_search_locations)

    def test_finding_the_driver_module_imports_nothing(self) -> None:
        activation.install_finder()
        before = set(sys.modules)
        self.assertIsNotNone(importlib.util.find_spec("nova.virt.stable_rescue"))
        self.assertEqual(set(), set(sys.modules) - before - {"nova.virt"})

    def test_finder_is_installed_once_and_last(self) -> None:
        activation.activate()
        activation.activate()
        self.assertEqual(1, len(self.finders()))
        self.assertIsInstance(sys.meta_path[-1], activation.NovaVirtFinder)


class TestManager(ActivateTestCase):
    def test_manager_is_replaced_if_the_driver_is_configured(self) -> None:
        self.configure(activation.COMPUTE_DRIVER)
        activation.activate()
        activation.activate()
        self.assertEqual(activation.MANAGER, service.SERVICE_MANAGERS["nova-compute"])

    def test_manager_stays_if_another_driver_is_configured(self) -> None:
        before = dict(service.SERVICE_MANAGERS)
        for driver in ("libvirt.LibvirtDriver", "stable_rescue.Other", "x.y"):
            self.configure(driver)
            activation.activate()
            self.assertEqual(before, service.SERVICE_MANAGERS, driver)

    def test_managers_of_other_services_stay(self) -> None:
        before = dict(service.SERVICE_MANAGERS)
        self.configure(activation.COMPUTE_DRIVER)
        activation.activate()
        changed = before.items() ^ service.SERVICE_MANAGERS.items()
        self.assertEqual({"nova-compute"}, {binary for binary, _ in changed})

    def test_manager_of_a_third_party_stays_and_error_is_logged(self) -> None:
        self.configure(activation.COMPUTE_DRIVER)
        service.SERVICE_MANAGERS["nova-compute"] = "others.ComputeManager"
        with mock.patch.object(activation, "LOG") as log:
            activation.activate()
        self.assertEqual(
            "others.ComputeManager", service.SERVICE_MANAGERS["nova-compute"]
        )
        message, error = log.exception.call_args.args
        self.assertIn("others.ComputeManager", message % error)

    def test_manager_stays_in_a_program_other_than_nova(self) -> None:
        conf = activation.cfg.ConfigOpts()
        before = dict(service.SERVICE_MANAGERS)
        with (
            mock.patch.object(activation.cfg, "CONF", conf),
            mock.patch.object(activation, "LOG") as log,
        ):
            activation.activate()
        self.assertEqual(before, service.SERVICE_MANAGERS)
        log.exception.assert_not_called()


class TestOsVif(ActivateTestCase):
    def test_os_vif_activates_the_plugin_without_vif_types(self) -> None:
        self.configure(activation.COMPUTE_DRIVER)
        os_vif.initialize(reset=True)
        self.assertEqual(1, len(self.finders()))
        self.assertEqual(activation.MANAGER, service.SERVICE_MANAGERS["nova-compute"])
        supported = os_vif.host_info(["VIFOpenVSwitch"])
        self.assertTrue(supported.has_plugin("ovs"))
        self.assertFalse(supported.has_plugin("stable_rescue"))

    def test_os_vif_plugin_has_no_options(self) -> None:
        options = dict(os_vif.opts.list_plugins_opts())
        self.assertEqual([], options["os_vif_stable_rescue"])
        self.assertIn("os_vif_ovs", options)
