# SPDX-License-Identifier: Apache-2.0

"""nova-compute finds StableRescueDriver, however it and Nova are installed."""

import shutil
import tempfile
from pathlib import Path
from typing import ClassVar

from oslotest import base

from tests.functional.activation.layouts import Layout

STABLE_RESCUE_DRIVER = "stable_rescue.virt.driver.StableRescueDriver"
STABLE_RESCUE_MANAGER = "stable_rescue.compute.manager.ComputeManager"
NOVA_DRIVER = "nova.virt.libvirt.driver.LibvirtDriver"
NOVA_MANAGER = "nova.compute.manager.ComputeManager"
#: All that is imported of stable_rescue if another driver is configured.
INACTIVE_MODULES = {"stable_rescue", "stable_rescue.activation"}


class LayoutTestCase(base.BaseTestCase):
    """Tests of one layout, which is built once for the class."""

    layout: ClassVar[Layout]
    #: The folders, below the layout's, that the two are imported from.
    nova_folder = "venv"
    stable_rescue_folder = "venv"

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        folder = Path(tempfile.mkdtemp(prefix="stable-rescue-layout-"))
        cls.addClassCleanup(shutil.rmtree, folder)
        cls.layout = Layout(folder)
        cls.install()

    @classmethod
    def install(cls) -> None:
        """Install Nova and stable_rescue into the layout."""
        cls.layout.install(cls.layout.nova_wheel(), cls.layout.stable_rescue_source())


class TestBothWheels(LayoutTestCase):
    """Nova and stable_rescue from wheels, as operators install them."""

    def test_packages_are_imported_from_the_expected_folders(self) -> None:
        report = self.layout.start_compute("libvirt.LibvirtDriver").report
        for name, folder in (
            ("nova", self.nova_folder),
            ("stable_rescue", self.stable_rescue_folder),
        ):
            relative = Path(report[name]).relative_to(self.layout.folder)
            self.assertTrue(relative.parts[0].startswith(folder), relative)

    def test_driver_and_manager_are_used_if_configured(self) -> None:
        started = self.layout.start_compute("stable_rescue.StableRescueDriver")
        self.assertEqual(STABLE_RESCUE_DRIVER, started.report["driver"])
        self.assertEqual(STABLE_RESCUE_MANAGER, started.report["manager"])
        self.assertNotIn(" ERROR ", started.log)

    def test_driver_is_not_imported_before_the_service_exists(self) -> None:
        started = self.layout.start_compute("stable_rescue.StableRescueDriver")
        imported = started.modules("modules_before_service")
        self.assertIn("stable_rescue.compute.manager", imported)
        self.assertNotIn("stable_rescue.virt.driver", imported)
        self.assertNotIn("nova.virt.stable_rescue", imported)
        self.assertNotIn("nova.virt.libvirt.driver", imported)

    def test_driver_module_has_file_and_can_be_reloaded(self) -> None:
        started = self.layout.start_compute("stable_rescue.StableRescueDriver")
        alias = started.report["alias"]
        self.assertEqual("nova_virt.py", Path(alias["file"]).name)
        self.assertTrue(Path(alias["file"]).is_file())
        self.assertEqual(alias["file"], alias["origin"])
        self.assertTrue(alias["loader"].endswith(".SourceFileLoader"))
        self.assertTrue(alias["reloaded"])
        self.assertEqual(STABLE_RESCUE_DRIVER, alias["driver"])

    def test_libvirt_driver_starts_without_stable_rescue_modules(self) -> None:
        started = self.layout.start_compute("libvirt.LibvirtDriver")
        self.assertEqual(NOVA_DRIVER, started.report["driver"])
        self.assertEqual(NOVA_MANAGER, started.report["manager"])
        self.assertEqual(
            INACTIVE_MODULES | {"nova.virt.libvirt.driver"}, started.modules()
        )
        self.assertNotIn(" ERROR ", started.log)

    def test_fake_driver_starts_without_stable_rescue_modules(self) -> None:
        started = self.layout.start_compute("fake.FakeDriver")
        self.assertEqual("nova.virt.fake.FakeDriver", started.report["driver"])
        self.assertEqual(NOVA_MANAGER, started.report["manager"])
        self.assertLessEqual(
            started.modules(), INACTIVE_MODULES | {"nova.virt.libvirt.driver"}
        )

    def test_os_vif_plugin_supports_no_vif_type(self) -> None:
        started = self.layout.start_compute("libvirt.LibvirtDriver")
        plugins = started.report["os_vif"]
        self.assertEqual([], plugins.pop("stable_rescue"))
        self.assertEqual({"noop", "ovs"}, plugins.keys())
        self.assertIn("VIFOpenVSwitch", plugins["ovs"])


class TestStableRescueEditable(TestBothWheels):
    """Nova from its wheel, stable_rescue editable from a working tree."""

    stable_rescue_folder = "stable-rescue"

    @classmethod
    def install(cls) -> None:
        cls.layout.install(
            cls.layout.nova_wheel(), "-e", cls.layout.stable_rescue_source()
        )


class TestNovaEditable(TestBothWheels):
    """Nova editable from its source, stable_rescue from its wheel."""

    nova_folder = "nova-"

    @classmethod
    def install(cls) -> None:
        cls.layout.install(
            "-e", cls.layout.nova_source(), cls.layout.stable_rescue_source()
        )


class TestBothEditable(TestBothWheels):
    """Both editable from working trees, as developers install them."""

    nova_folder = "nova-"
    stable_rescue_folder = "stable-rescue"

    @classmethod
    def install(cls) -> None:
        cls.layout.install(
            "-e", cls.layout.nova_source(), "-e", cls.layout.stable_rescue_source()
        )


class TestTwoSites(TestBothWheels):
    """Nova in one site directory, stable_rescue in another."""

    stable_rescue_folder = "other-site"

    @classmethod
    def install(cls) -> None:
        cls.layout.install(cls.layout.nova_wheel())
        other = cls.layout.folder / "other-site"
        cls.layout.install(f"--target={other}", cls.layout.stable_rescue_source())
        cls.layout.see(other)
