# SPDX-License-Identifier: Apache-2.0

"""A fault in stable_rescue never stops nova-compute; its consequences are logged."""

from pathlib import Path

from tests.functional.activation.layouts import Started
from tests.functional.activation.test_layouts import (
    NOVA_DRIVER,
    NOVA_MANAGER,
    STABLE_RESCUE_DRIVER,
    LayoutTestCase,
)

NO_MANAGER = "refused only after the server was powered off"


class TestFaults(LayoutTestCase):
    """nova-compute starts with an installation of stable_rescue that is broken."""

    def append(self, module: str, code: str) -> None:
        """Append code to an installed module for one test."""
        path = Path(self.layout.site, "stable_rescue", module)
        original = path.read_text()
        self.addCleanup(self.layout.discard_starts)
        self.addCleanup(path.write_text, original)
        path.write_text(f"{original}\n{code}\n")
        self.layout.discard_starts()

    def start_libvirt_driver(self) -> Started:
        """Start nova-compute with Nova's driver; check that it and its manager run."""
        started = self.layout.start_compute("libvirt.LibvirtDriver")
        self.assertEqual(NOVA_DRIVER, started.report["driver"])
        self.assertEqual(NOVA_MANAGER, started.report["manager"])
        return started

    def start_without_manager(self, *options: str) -> Started:
        """Start nova-compute with StableRescueDriver; check it gets Nova's manager."""
        started = self.layout.start_compute(
            "stable_rescue.StableRescueDriver", *options
        )
        self.assertEqual(STABLE_RESCUE_DRIVER, started.report["driver"])
        self.assertEqual(NOVA_MANAGER, started.report["manager"])
        self.assertIn(NO_MANAGER, started.log)
        return started

    def check_driver(self) -> tuple[int, str]:
        """Return the result of stable-rescue-status for the driver, and its text."""
        result = self.layout.check_upgrade()["Driver and compute manager"]
        return result["result"], result["details"] or ""

    def test_status_command_finds_the_driver(self) -> None:
        self.assertEqual((0, ""), self.check_driver())

    def test_status_command_reports_a_broken_entry_point(self) -> None:
        self.append("activation.py", "def install_finder(): raise RuntimeError('why')")
        code, text = self.check_driver()
        self.assertEqual(2, code)
        self.assertIn("nova-compute cannot load the driver", text)
        self.assertIn(str(self.layout.folder / "venv"), text)

    def test_status_command_reports_a_broken_manager(self) -> None:
        self.append("compute/manager.py", "import no_such_module")
        code, text = self.check_driver()
        self.assertEqual(2, code)
        self.assertIn("no_such_module", text)

    def test_broken_entry_point_leaves_nova_and_os_vif_working(self) -> None:
        self.append("activation.py", "import no_such_module")
        started = self.start_libvirt_driver()
        self.assertEqual({"noop", "ovs"}, started.report["os_vif"].keys())
        self.assertIn("no_such_module", started.log)

    def test_finder_that_cannot_be_installed_is_logged(self) -> None:
        self.append("activation.py", "def install_finder(): raise RuntimeError('why')")
        started = self.start_libvirt_driver()
        self.assertIn("could not add its driver to nova.virt", started.log)
        self.assertIn("RuntimeError: why", started.log)

    def test_manager_that_cannot_be_imported_is_logged(self) -> None:
        self.append("compute/manager.py", "import no_such_module")
        self.assertIn("no_such_module", self.start_without_manager().log)

    def test_broken_manager_does_not_matter_to_libvirt_driver(self) -> None:
        self.append("compute/manager.py", "import no_such_module")
        self.assertNotIn("no_such_module", self.start_libvirt_driver().log)

    def test_nova_without_its_table_of_managers_is_logged(self) -> None:
        started = self.start_without_manager("--without-manager-table")
        self.assertIn("SERVICE_MANAGERS", started.log)
