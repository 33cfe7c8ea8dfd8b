# SPDX-License-Identifier: Apache-2.0

"""nova-compute finds StableRescueDriver, however it and Nova are installed."""

import shutil
import tempfile
from pathlib import Path
from typing import ClassVar

from oslotest import base

from tests.functional.activation.environments import NOVA_VERSION
from tests.functional.activation.layouts import (
    Layout,
    copy_stable_rescue,
    stable_rescue_wheel,
)
from tests.functional.activation.shared_nova import (
    FROM_SOURCE,
    FROM_WHEEL,
    SharedNova,
)

STABLE_RESCUE_DRIVER = "stable_rescue.virt.driver.StableRescueDriver"
STABLE_RESCUE_MANAGER = "stable_rescue.compute.manager.ComputeManager"
NOVA_DRIVER = "nova.virt.libvirt.driver.LibvirtDriver"
NOVA_MANAGER = "nova.compute.manager.ComputeManager"
#: All that is imported of stable_rescue if another driver is configured.
INACTIVE_MODULES = {"stable_rescue", "stable_rescue.activation"}


class LayoutTestCase(base.BaseTestCase):
    """Tests of one layout, which is built once for the class."""

    layout: ClassVar[Layout]
    #: How Nova is installed.
    nova: ClassVar[SharedNova] = FROM_WHEEL
    #: The folder, below the layout's, that stable_rescue is imported from.
    stable_rescue_folder = "venv"

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        folder = Path(tempfile.mkdtemp(prefix="stable-rescue-layout-"))
        cls.addClassCleanup(shutil.rmtree, folder)
        cls.layout = Layout(folder, cls.nova)
        cls.install()

    @classmethod
    def install(cls) -> None:
        """Install stable_rescue into the layout."""
        cls.layout.install(stable_rescue_wheel())

    @classmethod
    def nova_folder(cls) -> Path:
        """Return the folder that Nova is imported from."""
        return cls.layout.folder / "venv"


class EachLayout:
    """The tests of each layout."""

    def test_packages_are_imported_from_the_expected_folders(self) -> None:
        report = self.layout.start_compute("libvirt.LibvirtDriver").report
        for name, folder in (
            ("nova", self.nova_folder()),
            ("stable_rescue", self.layout.folder / self.stable_rescue_folder),
        ):
            self.assertTrue(Path(report[name]).is_relative_to(folder), report[name])

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

    def test_os_vif_plugin_supports_no_vif_type(self) -> None:
        started = self.layout.start_compute("libvirt.LibvirtDriver")
        plugins = started.report["os_vif"]
        self.assertEqual([], plugins.pop("stable_rescue"))
        self.assertEqual({"noop", "ovs"}, plugins.keys())
        self.assertIn("VIFOpenVSwitch", plugins["ovs"])


class TestBothWheels(EachLayout, LayoutTestCase):
    """Nova and stable_rescue from wheels, as operators install them."""

    def test_fake_driver_starts_without_stable_rescue_modules(self) -> None:
        started = self.layout.start_compute("fake.FakeDriver")
        self.assertEqual("nova.virt.fake.FakeDriver", started.report["driver"])
        self.assertEqual(NOVA_MANAGER, started.report["manager"])
        self.assertLessEqual(
            started.modules(), INACTIVE_MODULES | {"nova.virt.libvirt.driver"}
        )


class TestStableRescueEditable(EachLayout, LayoutTestCase):
    """Nova from its wheel, stable_rescue editable from a working tree."""

    stable_rescue_folder = "stable-rescue"

    @classmethod
    def install(cls) -> None:
        cls.layout.install("-e", copy_stable_rescue(cls.layout.folder))


class TestNovaEditable(EachLayout, LayoutTestCase):
    """Nova editable from its source, stable_rescue from its wheel."""

    nova = FROM_SOURCE

    @classmethod
    def nova_folder(cls) -> Path:
        return cls.nova.folder / f"nova-{NOVA_VERSION}"


class TestBothEditable(TestNovaEditable):
    """Both editable from working trees, as developers install them."""

    stable_rescue_folder = "stable-rescue"

    @classmethod
    def install(cls) -> None:
        cls.layout.install("-e", copy_stable_rescue(cls.layout.folder))


class TestTwoSites(EachLayout, LayoutTestCase):
    """Nova in one site directory, stable_rescue in another."""

    stable_rescue_folder = "other-site"

    @classmethod
    def install(cls) -> None:
        other = cls.layout.folder / "other-site"
        cls.layout.install(f"--target={other}", stable_rescue_wheel())
        cls.layout.see(other)
