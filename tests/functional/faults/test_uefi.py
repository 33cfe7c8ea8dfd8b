# SPDX-License-Identifier: Apache-2.0
"""Faults in the rescue of a UEFI server: no fault changes its UEFI variables.

NvramFixture imitates how libvirt and the firmware treat NVRAM files. The integration
tests have a row of UEFI servers with the real ones.
"""

from pathlib import Path
from typing import Any

import fixtures
from lxml import etree
from nova.compute import vm_states
from nova.tests import fixtures as nova_fixtures
from nova.tests.fixtures import libvirt

from stable_rescue.domain import recognize
from stable_rescue.domain.document import Domain
from tests.faults.engine import EveryFault
from tests.faults.places import Place
from tests.functional.faults.base import FaultTestBase, RowTestBase

_FIRMWARE = {
    "loader": "/usr/share/OVMF/OVMF_CODE_4M.fd",
    "loader_type": "pflash",
    "loader_readonly": "yes",
    "nvram_template": "/usr/share/OVMF/OVMF_VARS_4M.fd",
}
START_STEPS = frozenset({"a domain to be started is defined", "start a domain"})
ENTRY = b"boot entry of the installed system"
NO_ENTRY = b"no boot entry of the installed system"


class NvramFixture(fixtures.Fixture):
    """Makes Nova's libvirt fixture choose the firmware and create the NVRAM file."""

    def _setUp(self) -> None:
        self.folder = Path(self.useFixture(fixtures.TempDir()).path)
        define = libvirt.Connection.defineXML
        create = libvirt.Domain.createWithFlags

        def define_with_firmware(connection: Any, xml: str) -> Any:
            domain = define(connection, xml)
            os_element = etree.fromstring(xml).find("os")
            has_loader = os_element.find("loader") is not None
            if os_element.get("firmware") == "efi" or (
                has_loader and os_element.find("nvram") is None
            ):
                nvram = str(self.folder / f"{domain.name()}_VARS.fd")
                domain._def["os"].update(_FIRMWARE, nvram=nvram)
            return domain

        def create_with_nvram(domain: Any, flags: int) -> Any:
            nvram = Path(domain._def["os"]["nvram"])
            if not nvram.exists():
                template = Path(domain._def["os"]["nvram_template"])
                of_server = template.parent == self.folder
                nvram.write_bytes(template.read_bytes() if of_server else ENTRY)
            if recognize.rescue_disk(Domain.parse(domain.XMLDesc(0))) is not None:
                # The firmware drops the entries of disks that it does not find (U31).
                nvram.write_bytes(NO_ENTRY)
            return create(domain, flags)

        for name, function in (
            ("Connection.defineXML", define_with_firmware),
            ("Domain.createWithFlags", create_with_nvram),
        ):
            self.useFixture(
                fixtures.MonkeyPatch(f"nova.tests.fixtures.libvirt.{name}", function)
            )


class UefiServer(FaultTestBase):
    """A server whose image asks for UEFI."""

    def setUp(self) -> None:
        self.nvram = self.useFixture(NvramFixture())
        # Nova's privileged helper looks for the NVRAM file; no test may start it.
        self.useFixture(nova_fixtures.PrivsepFixture())
        super().setUp()

    def make_server(self) -> None:
        firmware_image = self.create_rescue_image(hw_firmware_type="uefi")
        wanted = self._build_server(image_uuid=firmware_image, networks="none")
        self.server = self.boot(wanted)
        self.image = self.create_rescue_image(hw_rescue_bus="usb")

    def observed(self) -> dict[str, Any]:
        files = self.nvram.folder.iterdir()
        variables = {path.name: path.read_bytes() for path in files}
        self.assertEqual([ENTRY], list(variables.values()))
        return super().observed() | {"variables": variables}


class Uefi:
    """The rescue runs on a copy of the UEFI variables (E6)."""

    situation = "UEFI"

    def assert_rescue_runs(self) -> None:
        super().assert_rescue_runs()
        copy = self.folder(self.server) / "nvram.rescue"
        self.assertEqual(NO_ENTRY, copy.read_bytes())
        (nvram,) = Domain.parse(self.definition(self.server)).root.iterfind("os/nvram")
        self.assertEqual(str(copy), nvram.text)
        self.assertEqual(self.nvram.folder, Path(nvram.get("template")).parent)


class RescueTest(Uefi, EveryFault, UefiServer, RowTestBase):
    action, running = "rescue", True
    other_steps = START_STEPS | {"define a domain", "power off"}


class UnrescueTest(Uefi, EveryFault, UefiServer, RowTestBase):
    action, running = "unrescue", True
    other_steps = START_STEPS | {"remove a file"}

    def places(self) -> list[Place]:
        # The copy is the first file that is removed.
        return [place for place in super().places() if place[1] == 1]


class HardRebootTest(UefiServer):
    """Nova builds a new definition while libvirt has the one of a rescue (U31)."""

    def rescue_uefi_server(self) -> None:
        self.request("rescue")
        self.assert_status("RESCUE")

    def assert_runs_on_its_variables(self) -> None:
        """Assert that the server runs, and on its own UEFI variables."""
        self.assert_status("ACTIVE")
        self.assertTrue(self.domain().isActive())
        self.assertNotIn(".rescue", self.live_definition())
        self.assertEqual(self.before["variables"], self.observed()["variables"])

    def test_hard_reboot_of_a_failed_rescue_keeps_the_variables(self) -> None:
        self.rescue_uefi_server()
        self.set_nova_state(vm_states.ERROR, None)
        self.api.post_server_action(self.server["id"], {"reboot": {"type": "HARD"}})
        self.assert_runs_on_its_variables()
        self.restart()
        self.assert_restored()
        self.rescue_uefi_server()

    def test_unrescue_without_any_file_keeps_the_variables(self) -> None:
        self.rescue_uefi_server()
        for name in ("stable_rescue.json", "unrescue.xml"):
            (self.folder(self.server) / name).unlink()
        self.request("unrescue")
        self.assert_runs_on_its_variables()
