# SPDX-License-Identifier: Apache-2.0

"""nova-compute finds our driver however the two are installed, and only if asked."""

import shutil
import tempfile
from pathlib import Path
from typing import ClassVar

from oslotest import base

from tests.functional.activation.layouts import Layout

OUR_DRIVER = "stable_rescue.virt.driver.StableRescueDriver"
OUR_MANAGER = "stable_rescue.compute.manager.ComputeManager"
NOVA_MANAGER = "nova.compute.manager.ComputeManager"
INERT = {"stable_rescue", "stable_rescue.activation"}


class LayoutTestCase(base.BaseTestCase):
    """A layout, built once for all tests of a class."""

    layout: ClassVar[Layout]
    # Where the two come from, below the layout's folder.
    nova_in = "venv"
    ours_in = "venv"

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        folder = Path(tempfile.mkdtemp(prefix="stable-rescue-layout-"))
        cls.addClassCleanup(shutil.rmtree, folder)
        cls.layout = Layout(folder)
        cls.install()

    @classmethod
    def install(cls) -> None:
        """Install Nova and stable_rescue into the layout: two wheels."""
        cls.layout.install(cls.layout.nova_wheel(), cls.layout.our_source())


class TestBothWheels(LayoutTestCase):
    """Nova and stable_rescue both installed from wheels, as by an operator."""

    def test_the_layout_is_what_it_says(self) -> None:
        report = self.layout.start_compute("libvirt.LibvirtDriver").report
        for name, place in (("nova", self.nova_in), ("stable_rescue", self.ours_in)):
            relative = Path(report[name]).relative_to(self.layout.folder)
            self.assertTrue(relative.parts[0].startswith(place), relative)

    def test_our_driver_and_manager_are_used_where_configured(self) -> None:
        started = self.layout.start_compute("stable_rescue.StableRescueDriver")
        self.assertEqual(OUR_DRIVER, started.report["driver"])
        self.assertEqual(OUR_MANAGER, started.report["manager"])
        self.assertNotIn(" ERROR ", started.log)

    def test_no_driver_is_imported_before_nova_asks(self) -> None:
        started = self.layout.start_compute("stable_rescue.StableRescueDriver")
        early = started.modules("modules_before_service")
        self.assertIn("stable_rescue.compute.manager", early)
        self.assertNotIn("stable_rescue.virt.driver", early)
        self.assertNotIn("nova.virt.stable_rescue", early)
        self.assertNotIn("nova.virt.libvirt.driver", early)

    def test_the_module_is_an_ordinary_one(self) -> None:
        started = self.layout.start_compute("stable_rescue.StableRescueDriver")
        alias = started.report["alias"]
        self.assertEqual("nova_virt.py", Path(alias["file"]).name)
        self.assertTrue(Path(alias["file"]).is_file())
        self.assertEqual(alias["file"], alias["origin"])
        self.assertTrue(alias["loader"].endswith(".SourceFileLoader"))
        self.assertTrue(alias["reloaded"])
        self.assertEqual(OUR_DRIVER, alias["driver"])

    def test_nova_libvirt_driver_starts_as_without_us(self) -> None:
        started = self.layout.start_compute("libvirt.LibvirtDriver")
        self.assertEqual(
            "nova.virt.libvirt.driver.LibvirtDriver", started.report["driver"]
        )
        self.assertEqual(NOVA_MANAGER, started.report["manager"])
        self.assertEqual(INERT | {"nova.virt.libvirt.driver"}, started.modules())
        self.assertNotIn(" ERROR ", started.log)

    def test_nova_fake_driver_starts_as_without_us(self) -> None:
        started = self.layout.start_compute("fake.FakeDriver")
        self.assertEqual("nova.virt.fake.FakeDriver", started.report["driver"])
        self.assertEqual(NOVA_MANAGER, started.report["manager"])
        self.assertLessEqual(
            started.modules(), INERT | {"nova.virt.libvirt.driver"}, started.modules()
        )

    def test_os_vif_has_its_plugins_and_ours_supports_nothing(self) -> None:
        started = self.layout.start_compute("libvirt.LibvirtDriver")
        plugins = started.report["os_vif"]
        self.assertEqual([], plugins.pop("stable_rescue"))
        self.assertEqual({"noop", "ovs"}, plugins.keys())
        self.assertIn("VIFOpenVSwitch", plugins["ovs"])


class TestOursEditable(TestBothWheels):
    """Nova from its wheel, stable_rescue from a working tree."""

    ours_in = "stable-rescue"

    @classmethod
    def install(cls) -> None:
        cls.layout.install(cls.layout.nova_wheel(), "-e", cls.layout.our_source())


class TestNovaEditable(TestBothWheels):
    """Nova from its source, stable_rescue from its wheel."""

    nova_in = "nova-"

    @classmethod
    def install(cls) -> None:
        cls.layout.install("-e", cls.layout.nova_source(), cls.layout.our_source())


class TestBothEditable(TestBothWheels):
    """Both from working trees, as a developer has them."""

    nova_in = "nova-"
    ours_in = "stable-rescue"

    @classmethod
    def install(cls) -> None:
        cls.layout.install(
            "-e", cls.layout.nova_source(), "-e", cls.layout.our_source()
        )


class TestTwoSites(TestBothWheels):
    """Nova in one site directory, stable_rescue in another."""

    ours_in = "other-site"

    @classmethod
    def install(cls) -> None:
        cls.layout.install(cls.layout.nova_wheel())
        other = cls.layout.folder / "other-site"
        cls.layout.install(f"--target={other}", cls.layout.our_source())
        cls.layout.see(other)
