# SPDX-License-Identifier: Apache-2.0
"""Faults where the server has UEFI variables: they are its own, whatever is killed.

Nova's libvirt is told what a real one does of NVRAM files. That a real one does so is
seen in tests/integration, where there is a row of UEFI servers, too.
"""

from pathlib import Path
from typing import Any

import fixtures
from lxml import etree
from nova.tests.fixtures import libvirt

from stable_rescue.domain import recognise
from stable_rescue.domain.document import Domain
from tests.functional.faults.scenario import CellsOfAllFaults, FaultTestBase, Scenario
from tests.tally import Place

_FIRMWARE = {
    "loader": "/usr/share/OVMF/OVMF_CODE_4M.fd",
    "loader_type": "pflash",
    "loader_readonly": "yes",
    "nvram_template": "/usr/share/OVMF/OVMF_VARS_4M.fd",
}
STARTED = frozenset({"a domain to be started is defined", "start a domain"})
ENTRY = b"the entry of the installed system"
NO_ENTRY = b"the entries of what was there at a rescue"


class NvramFixture(fixtures.Fixture):
    """Lets Nova's libvirt choose the firmware, and make the file of its variables."""

    def _setUp(self) -> None:
        self.folder = Path(self.useFixture(fixtures.TempDir()).path)
        define = libvirt.Connection.defineXML
        create = libvirt.Domain.createWithFlags

        def define_with_firmware(connection: Any, xml: str) -> Any:
            domain = define(connection, xml)
            found = etree.fromstring(xml).find("os")
            if found.get("firmware") == "efi":
                nvram = str(self.folder / f"{domain.name()}_VARS.fd")
                domain._def["os"].update(_FIRMWARE, nvram=nvram)
            return domain

        def create_with_nvram(domain: Any, flags: int) -> Any:
            nvram = Path(domain._def["os"]["nvram"])
            if not nvram.exists():
                template = Path(domain._def["os"]["nvram_template"])
                own = template.parent == self.folder
                nvram.write_bytes(template.read_bytes() if own else ENTRY)
            if recognise.rescue_disk(Domain.parse(domain.XMLDesc(0))) is not None:
                # The firmware drops what it does not find (UPSTREAM U31).
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
        super().setUp()

    def make_server(self) -> None:
        own_image = self.create_rescue_image(hw_firmware_type="uefi")
        wanted = self._build_server(image_uuid=own_image, networks="none")
        server = self.api.post_server({"server": wanted})
        self.server = self._wait_for_state_change(server, "ACTIVE")
        self.folder(self.server).mkdir(parents=True, exist_ok=True)
        self.image = self.create_rescue_image(hw_rescue_bus="usb")

    def observed(self) -> dict[str, Any]:
        variables = {p.name: p.read_bytes() for p in self.nvram.folder.iterdir()}
        self.assertEqual([ENTRY], list(variables.values()))
        return super().observed() | {"variables": variables}


class Uefi:
    """The copy of the variables is what the rescue runs on."""

    situation = "UEFI"

    def assert_rescued(self) -> None:
        super().assert_rescued()
        copy = self.folder(self.server) / "nvram.rescue"
        self.assertEqual(NO_ENTRY, copy.read_bytes())
        (nvram,) = Domain.parse(self.definition(self.server)).root.iterfind("os/nvram")
        self.assertEqual(str(copy), nvram.text)
        self.assertEqual(self.nvram.folder, Path(nvram.get("template")).parent)


class RescueTest(Uefi, CellsOfAllFaults, UefiServer, Scenario):
    action, running = "rescue", True
    other_steps = STARTED | {"define a domain", "power off"}


class UnrescueTest(Uefi, CellsOfAllFaults, UefiServer, Scenario):
    action, running = "unrescue", True
    other_steps = STARTED | {"remove a file"}

    def _places(self) -> list[Place]:
        # The first file that is removed is the copy.
        return [place for place in super()._places() if place[1] == 1]
