# SPDX-License-Identifier: Apache-2.0
"""The rescue disk is placed behind all other devices, or not at all (E2, E3)."""

import ddt
from oslotest import base

from stable_rescue import exception
from stable_rescue.domain import edits, machine, pci, recognize
from stable_rescue.domain.address import Drive, Pci
from stable_rescue.domain.document import Domain
from tests.unit.domain import samples


def rescue(original: Domain, bus: str, device: str = "disk"):
    """Return the rescue disk that was added to a copy of a domain, and the copy."""
    draft = original.copy()
    edits.add_rescue_disk(draft, samples.MEDIUM, device, bus)
    return recognize.rescue_disk(draft), draft


class PcTest(base.BaseTestCase):
    def test_slot_above_all_others_is_next(self) -> None:
        self.assertEqual(Pci(0, 0, 9), pci.last_place(samples.domain("pc")).address)

    def test_hole_is_not_filled(self) -> None:
        """F7: libvirt would choose the hole."""
        original = samples.domain("pc")
        samples.remove_disk(original, "vdb")
        self.assertEqual(Pci(0, 0, 9), pci.last_place(original).address)

    def test_no_slot_behind_the_last_device_is_refused(self) -> None:
        original = samples.domain("pc")
        samples.add_disk(original, "vde", "virtio", samples.pci(0, 31))
        refused = self.assertRaises(exception.Refused, rescue, original, "virtio")
        self.assertIn("no room", str(refused))

    def test_last_gap_is_used_if_gaps_are_allowed(self) -> None:
        original = samples.domain("pc")
        samples.add_disk(original, "vde", "virtio", samples.pci(0, 31))
        place = pci.last_place(original, gaps=True)
        self.assertEqual((Pci(0, 0, 30), True), (place.address, place.in_gap))

    def test_place_behind_a_bridge_is_next_if_bridge_is_in_use(self) -> None:
        original = samples.domain("pc")
        samples.add(
            original,
            "<controller type='pci' index='1' model='pci-bridge'>"
            f"<address {samples.pci(0, 20)}/></controller>",
        )
        self.assertEqual(Pci(0, 0, 21), pci.last_place(original).address)
        samples.add_disk(original, "vde", "virtio", samples.pci(1, 4))
        self.assertEqual(Pci(0, 1, 5), pci.last_place(original).address)

    def test_empty_bridge_is_used_if_bus_0_is_full(self) -> None:
        original = samples.domain("pc")
        samples.add_disk(original, "vde", "virtio", samples.pci(0, 31))
        samples.add(
            original,
            "<controller type='pci' index='1' model='pci-bridge'>"
            f"<address {samples.pci(0, 20)}/></controller>",
        )
        self.assertEqual(Pci(0, 1, 1), pci.last_place(original).address)


class Q35Test(base.BaseTestCase):
    def test_place_behind_bridges_of_older_libvirt_is_next(self) -> None:
        """All devices are behind these bridges. A root port would come before them."""
        original = samples.domain("q35")
        for index, model, place in (
            (30, "dmi-to-pci-bridge", samples.pci(0, 0x1E)),
            (31, "pci-bridge", samples.pci(30, 1)),
        ):
            samples.add(
                original,
                f"<controller type='pci' index='{index}' model='{model}'>"
                f"<address {place}/></controller>",
            )
        samples.add_disk(original, "vdx", "virtio", samples.pci(31, 4))
        self.assertEqual(Pci(0, 31, 5), pci.last_place(original).address)

    def test_first_empty_port_behind_all_devices_is_next(self) -> None:
        place = pci.last_place(samples.domain("q35"))
        self.assertEqual((Pci(0, 7, 0), None), (place.address, place.port))

    def test_port_emptied_by_an_unplug_is_not_filled(self) -> None:
        original = samples.domain("q35")
        samples.remove_disk(original, "vda")
        self.assertEqual(Pci(0, 7, 0), pci.last_place(original).address)

    def test_new_port_is_added_if_the_last_is_in_use(self) -> None:
        original = samples.domain("q35")
        samples.add_disk(original, "vdd", "virtio", samples.pci(16, 0))
        place = pci.last_place(original)
        self.assertEqual(Pci(0, 17, 0), place.address)
        self.assertEqual("17", place.port.get("index"))
        self.assertEqual(Pci(0, 0, 4, 0), Pci.of(place.port))
        self.assertEqual("0x20", place.port.find("target").get("port"))

    def test_new_port_uses_a_free_function_of_the_last_slot(self) -> None:
        original = samples.domain("q35")
        for controller in list(original.controllers("pci")):
            if controller.get("index") == "16":
                original.devices.remove(controller)
        samples.add_disk(original, "vdd", "virtio", samples.pci(15, 0))
        place = pci.last_place(original)
        self.assertEqual(Pci(0, 16, 0), place.address)
        self.assertEqual(Pci(0, 0, 3, 7), Pci.of(place.port))

    def test_new_port_has_a_chassis_number_of_its_own(self) -> None:
        original = samples.domain("q35")
        samples.add_disk(original, "vdd", "virtio", samples.pci(16, 0))
        for controller in original.controllers("pci"):
            if controller.get("index") == "3":
                controller.find("target").set("chassis", "17")
        self.assertEqual(
            "18", pci.last_place(original).port.find("target").get("chassis")
        )

    def test_no_slot_for_a_new_port_is_refused(self) -> None:
        original = samples.domain("q35")
        samples.add_disk(original, "vdd", "virtio", samples.pci(16, 0))
        for slot in range(4, 0x1F):
            samples.add_disk(original, f"vd{slot}", "virtio", samples.pci(0, slot))
        self.assertRaises(exception.Refused, pci.last_place, original)

    def test_place_before_devices_behind_a_late_bridge_is_refused(self) -> None:
        original = samples.domain("q35")
        samples.add(
            original,
            "<controller type='pci' index='17' model='dmi-to-pci-bridge'>"
            f"<address {samples.pci(0, 0x1E)}/></controller>",
        )
        samples.add_disk(original, "vdd", "virtio", samples.pci(17, 1))
        self.assertRaises(exception.Refused, pci.last_place, original)


@ddt.ddt
class ControllerTest(base.BaseTestCase):
    def test_usb_disk_gets_a_new_xhci_controller(self) -> None:
        """U33, F14."""
        original = samples.domain("pc")
        for controller in original.controllers("usb"):
            controller.set("model", "piix3-uhci")
        disk, rescued = rescue(original, "usb")
        self.assertEqual(
            [("0", "piix3-uhci"), ("1", "qemu-xhci")],
            [(c.get("index"), c.get("model")) for c in rescued.controllers("usb")],
        )
        self.assertEqual(
            {"type": "usb", "bus": "1", "port": "1"}, dict(disk.find("address").attrib)
        )

    def test_scsi_disk_is_last_on_the_last_controller(self) -> None:
        original = samples.domain("q35")
        samples.add(
            original,
            "<controller type='scsi' index='0' model='virtio-scsi'>"
            f"<address {samples.pci(7, 0)}/></controller>",
        )
        for unit in (0, 3):
            samples.add_disk(
                original, f"sd{'xy'[unit % 2]}", "scsi", samples.drive(0, 0, 0, unit)
            )
        disk, rescued = rescue(original, "scsi")
        self.assertEqual(Drive(0, 0, 0, 4), Drive.of(disk))
        self.assertEqual(1, len(list(rescued.controllers("scsi"))))

    def test_scsi_disk_uses_the_next_target_after_256_units(self) -> None:
        original = samples.domain("q35")
        samples.add(
            original,
            "<controller type='scsi' index='0' model='virtio-scsi'>"
            f"<address {samples.pci(7, 0)}/></controller>",
        )
        samples.add_disk(original, "sdz", "scsi", samples.drive(0, 0, 0, 255))
        disk, _rescued = rescue(original, "scsi")
        self.assertEqual(Drive(0, 0, 1, 0), Drive.of(disk))

    @ddt.data("scsi", "sata")
    def test_disk_uses_the_controller_that_the_guest_sees_last(self, bus: str) -> None:
        """Guests name disks by the addresses of their controllers, not by index."""
        original = samples.domain("pc")
        model = "model='virtio-scsi'" if bus == "scsi" else ""
        for index, slot in ((0, 20), (1, 10)):
            samples.add(
                original,
                f"<controller type='{bus}' index='{index}' {model}>"
                f"<address {samples.pci(0, slot)}/></controller>",
            )
            name = "sd" + "ab"[index]
            samples.add_disk(original, name, bus, samples.drive(index, 0, 0, 0))
        disk, _rescued = rescue(original, bus)
        self.assertEqual(Drive(0, 0, 0, 1), Drive.of(disk))

    def test_controller_before_another_is_not_used(self) -> None:
        original = samples.domain("pc")
        for index, slot, model in ((0, 20, "lsilogic"), (1, 10, "virtio-scsi")):
            samples.add(
                original,
                f"<controller type='scsi' index='{index}' model='{model}'>"
                f"<address {samples.pci(0, slot)}/></controller>",
            )
        disk, rescued = rescue(original, "scsi")
        self.assertEqual(Drive(2, 0, 0, 0), Drive.of(disk))
        self.assertEqual(Pci(0, 0, 21), Pci.of(list(rescued.controllers("scsi"))[-1]))

    def test_scsi_disk_is_never_on_an_lsilogic(self) -> None:
        """F4, U32: OVMF has no driver for it and boots the original."""
        original = samples.domain("pc")
        samples.add(
            original,
            "<controller type='scsi' index='0' model='lsilogic'>"
            f"<address {samples.pci(0, 9)}/></controller>",
        )
        disk, rescued = rescue(original, "scsi")
        self.assertEqual(Drive(1, 0, 0, 0), Drive.of(disk))
        added = list(rescued.controllers("scsi"))[-1]
        self.assertEqual(
            ("virtio-scsi", Pci(0, 0, 10)), (added.get("model"), Pci.of(added))
        )

    def test_scsi_disk_is_behind_a_scsi_hostdev(self) -> None:
        original = samples.domain("q35")
        samples.add(
            original,
            "<controller type='scsi' index='0' model='virtio-scsi'>"
            f"<address {samples.pci(7, 0)}/></controller>",
        )
        samples.add(
            original,
            "<hostdev mode='subsystem' type='scsi'><source/>"
            f"<address {samples.drive(0, 0, 0, 5)}/></hostdev>",
        )
        disk, _rescued = rescue(original, "scsi")
        self.assertEqual(Drive(0, 0, 0, 6), Drive.of(disk))

    @ddt.data(("ide", 4), ("fdc", 2))
    @ddt.unpack
    def test_full_bus_is_refused(self, bus: str, room: int) -> None:
        original = samples.domain("pc")
        for place in range(room):
            number, unit = divmod(place, 2) if bus == "ide" else (0, place)
            address = samples.drive(0, number, 0, unit)
            samples.add_disk(original, f"{bus}{place}", bus, address)
        refused = self.assertRaises(exception.NoRoom, rescue, original, bus)
        self.assertEqual(f"no room is left on the {bus} bus", str(refused))

    def test_gap_on_ide_is_used_only_if_gaps_are_allowed(self) -> None:
        original = samples.domain("pc")
        samples.add_disk(original, "hdd", "ide", samples.drive(0, 1, 0, 1))
        refused = self.assertRaises(exception.NoRoom, rescue, original, "ide")
        self.assertIn("behind its last disk", str(refused))
        edits.add_rescue_disk(original, samples.MEDIUM, "disk", "ide", gaps=True)
        self.assertEqual(Drive(0, 1, 0, 0), Drive.of(recognize.rescue_disk(original)))

    @ddt.data(("pc", "ide", Pci(0, 0, 1, 1)), ("q35", "sata", Pci(0, 0, 31, 2)))
    @ddt.unpack
    def test_chipset_controller_is_added_to_the_definition(
        self, machine_type: str, bus: str, place: Pci
    ) -> None:
        """libvirt leaves it out of definitions that have no disk on it."""
        original = samples.domain(machine_type)
        for device in [*original.disks(bus), *original.controllers(bus)]:
            original.devices.remove(device)
        disk, rescued = rescue(original, bus)
        self.assertEqual(Drive(0, 0, 0, 0), Drive.of(disk))
        (controller,) = rescued.controllers(bus)
        self.assertEqual(place, Pci.of(controller))

    def test_device_at_the_chipset_address_is_refused(self) -> None:
        original = samples.domain("pc")
        for controller in original.controllers("ide"):
            original.devices.remove(controller)
        samples.add(original, f"<rng><address {samples.pci(0, 1, 1)}/></rng>")
        refused = self.assertRaises(exception.NoRoom, rescue, original, "ide")
        self.assertIn("of the machine's ide controller", str(refused))

    def test_second_ahci_is_added_after_six_disks(self) -> None:
        original = samples.domain("q35")
        for unit in range(1, 6):
            samples.add_disk(
                original, f"sd{unit}", "sata", samples.drive(0, 0, 0, unit)
            )
        disk, rescued = rescue(original, "sata")
        self.assertEqual(Drive(1, 0, 0, 0), Drive.of(disk))
        added = list(rescued.controllers("sata"))[-1]
        self.assertEqual(Pci(0, 7, 0), Pci.of(added))

    def test_sata_disk_is_possible_on_pc_with_an_ahci(self) -> None:
        original = samples.domain("pc")
        samples.add(
            original,
            "<controller type='sata' index='0'>"
            f"<address {samples.pci(0, 9)}/></controller>",
        )
        machine.check(original, "cdrom", "sata")
        disk, _rescued = rescue(original, "sata")
        self.assertEqual(Drive(0, 0, 0, 0), Drive.of(disk))

    def test_usb_disk_is_not_on_bus_0_without_controller(self) -> None:
        """The migratable form of a running domain leaves out the default controller.

        See libvirt, qemuDomainDefFormatBufInternal: a single piix3-uhci of index 0.
        """
        original = samples.domain("pc")
        original.devices.remove(next(original.controllers("usb")))
        samples.add(
            original,
            "<input type='tablet' bus='usb'><address type='usb' bus='0' port='2'/>"
            "</input>",
        )
        disk, rescued = rescue(original, "usb")
        self.assertEqual("1", disk.find("address").get("bus"))
        self.assertEqual(["1"], [c.get("index") for c in rescued.controllers("usb")])

    def test_existing_floppy_controller_is_used(self) -> None:
        """A floppy controller without children must not look like no controller."""
        original = samples.domain("pc")
        samples.add(original, "<controller type='fdc' index='0'/>")
        _disk, rescued = rescue(original, "fdc", "floppy")
        self.assertEqual(1, len(list(rescued.controllers("fdc"))))

    def test_target_name_follows_the_highest(self) -> None:
        original = samples.domain("q35")
        samples.add_disk(original, "vdz", "virtio", samples.pci(7, 0))
        disk, _rescued = rescue(original, "virtio")
        self.assertEqual("vdaa", disk.find("target").get("dev"))

    def test_target_names_are_shared_by_usb_and_sata(self) -> None:
        disk, _rescued = rescue(samples.domain("q35"), "usb")  # sda is the config drive
        self.assertEqual("sdb", disk.find("target").get("dev"))

    def test_cdrom_is_read_only_and_disk_is_not(self) -> None:
        """F24: libvirt rejects readonly on sata and ide disks."""
        cdrom, _rescued = rescue(samples.domain("q35"), "sata", "cdrom")
        disk, _rescued = rescue(samples.domain("q35"), "sata")
        self.assertIsNotNone(cdrom.find("readonly"))
        self.assertIsNone(disk.find("readonly"))
