# SPDX-License-Identifier: Apache-2.0

"""A fault of ours never stops nova-compute, and what is lost by it is logged."""

from pathlib import Path

from tests.functional.activation.test_layouts import (
    NOVA_MANAGER,
    OUR_DRIVER,
    LayoutTestCase,
)

NOVA_DRIVER = "nova.virt.libvirt.driver.LibvirtDriver"
LOST = "refused only after the server has been powered off"


class TestFaults(LayoutTestCase):
    """nova-compute with something broken in our installed package."""

    def append(self, module: str, code: str) -> None:
        """Append code to an installed file of ours, for one test."""
        path = Path(self.layout.site, "stable_rescue", module)
        original = path.read_text()
        self.addCleanup(self.layout.forget_starts)
        self.addCleanup(path.write_text, original)
        path.write_text(f"{original}\n{code}\n")
        self.layout.forget_starts()

    def test_entry_point_that_cannot_be_imported(self) -> None:
        self.append("activation.py", "import no_such_module")
        started = self.layout.start_compute("libvirt.LibvirtDriver")
        self.assertEqual(NOVA_DRIVER, started.report["driver"])
        self.assertEqual(NOVA_MANAGER, started.report["manager"])
        self.assertEqual({"noop", "ovs"}, started.report["os_vif"].keys())
        self.assertIn("no_such_module", started.log)

    def test_finder_that_cannot_be_installed(self) -> None:
        self.append("activation.py", "def install_finder(): raise RuntimeError('why')")
        started = self.layout.start_compute("libvirt.LibvirtDriver")
        self.assertEqual(NOVA_DRIVER, started.report["driver"])
        self.assertEqual(NOVA_MANAGER, started.report["manager"])
        self.assertIn("cannot be loaded in this process", started.log)
        self.assertIn("RuntimeError: why", started.log)

    def test_manager_that_cannot_be_imported(self) -> None:
        self.append("compute/manager.py", "import no_such_module")
        started = self.layout.start_compute("stable_rescue.StableRescueDriver")
        self.assertEqual(OUR_DRIVER, started.report["driver"])
        self.assertEqual(NOVA_MANAGER, started.report["manager"])
        self.assertIn(LOST, started.log)
        self.assertIn("no_such_module", started.log)

    def test_manager_that_cannot_be_imported_is_of_no_concern_to_others(self) -> None:
        self.append("compute/manager.py", "import no_such_module")
        started = self.layout.start_compute("libvirt.LibvirtDriver")
        self.assertEqual(NOVA_DRIVER, started.report["driver"])
        self.assertNotIn("no_such_module", started.log)

    def test_nova_without_its_table_of_managers(self) -> None:
        started = self.layout.start_compute(
            "stable_rescue.StableRescueDriver", "--without-manager-table"
        )
        self.assertEqual(OUR_DRIVER, started.report["driver"])
        self.assertEqual(NOVA_MANAGER, started.report["manager"])
        self.assertIn(LOST, started.log)
        self.assertIn("SERVICE_MANAGERS", started.log)
