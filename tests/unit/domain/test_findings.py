# SPDX-License-Identifier: Apache-2.0
"""What a plan reports to the server's owner and the operator."""

from lxml import etree
from oslotest import base

from stable_rescue import exception, plan
from tests.unit.domain import samples


class SecureBootTest(base.BaseTestCase):
    def test_secure_boot_is_a_finding(self) -> None:
        """F6."""
        original = samples.domain("q35")
        os_element = original.root.find("os")
        etree.SubElement(os_element, "loader", secure="yes", type="pflash").text = "/c"
        etree.SubElement(os_element, "nvram").text = "/vars.fd"
        self.assertIn("secure boot", samples.derive(original).findings[0])


class BusWithoutControllerTest(base.BaseTestCase):
    """Only a definition that was edited by hand has such an address."""

    def test_devices_on_a_bus_without_controller_are_a_finding(self) -> None:
        original = samples.domain("q35")
        samples.add_disk(original, "vdx", "virtio", samples.pci(0x2A, 0))
        samples.add_disk(original, "vdy", "virtio", samples.pci(0x2B, 0))
        (finding,) = samples.derive(original, bus="sata").findings
        self.assertIn("disk vdx at 0000:2a:00.0, disk vdy at 0000:2b:00.0", finding)
        self.assertIn("no controller", finding)

    def test_buses_of_the_machine_and_of_controllers_are_no_finding(self) -> None:
        for name in ("pc", "pc-migratable", "q35"):
            derived = samples.derive(samples.parsed(name), bus="usb")
            self.assertEqual((), derived.findings)


class OvertakenTest(base.BaseTestCase):
    """Disks on scsi, sata and usb share their names (F20)."""

    def setUp(self) -> None:
        super().setUp()
        self.original = samples.domain("q35")
        samples.add(
            self.original,
            "<controller type='scsi' index='0' model='virtio-scsi'>"
            f"<address {samples.pci(7, 0)}/></controller>",
        )
        samples.add_disk(self.original, "sdb", "scsi", samples.drive(0, 0, 0, 0))

    def findings(self, bus: str) -> tuple[str, ...]:
        return samples.derive(self.original, bus=bus).findings

    def test_disk_behind_the_rescue_disk_is_a_finding(self) -> None:
        (finding,) = self.findings("sata")
        self.assertIn("comes before sdb", finding)

    def test_rescue_disk_on_the_same_controller_is_no_finding(self) -> None:
        self.assertEqual((), self.findings("scsi"))

    def test_rescue_disk_on_a_new_controller_is_no_finding(self) -> None:
        self.assertEqual((), self.findings("usb"))

    def test_rescue_disk_on_virtio_is_no_finding(self) -> None:
        self.assertEqual((), self.findings("virtio"))


class NoRoomTest(base.BaseTestCase):
    """The last PCI slot of a pc is in use."""

    def setUp(self) -> None:
        super().setUp()
        self.original = samples.domain("pc")
        samples.add_disk(self.original, "vde", "virtio", samples.pci(0, 31))

    def derive(self, request: plan.RescueRequest) -> plan.RescuePlan:
        return plan.derive(self.original, request, samples.MEDIA)

    def test_without_fallback_the_rescue_is_refused(self) -> None:
        refused = self.assertRaises(exception.NoRoom, self.derive, plan.RescueRequest())
        self.assertIn("PCI", str(refused))

    def test_first_fallback_bus_with_room_is_used(self) -> None:
        derived = self.derive(
            plan.RescueRequest(fallback_buses=("scsi", "sata", "ide"))
        )
        self.assertEqual("ide", derived.bus)
        self.assertEqual(
            ("bus virtio has no room; ide is used instead",), derived.findings
        )

    def test_gap_is_a_finding_if_gaps_are_allowed(self) -> None:
        derived = self.derive(plan.RescueRequest(gaps=True))
        self.assertEqual("virtio", derived.bus)
        self.assertIn("vdf sits in a gap", derived.findings[0])
