# SPDX-License-Identifier: Apache-2.0
"""Where the rescue disk goes: behind everything, or nowhere."""

import ddt
from oslotest import base

from stable_rescue import exception
from stable_rescue.domain import edits, machine, pci, recognise
from stable_rescue.domain.address import Drive, Pci
from stable_rescue.domain.document import Domain
from tests.unit.domain import samples


def rescue(own: Domain, bus: str, device: str = "disk"):
    """Return the rescue disk added to a copy of a domain, and the copy."""
    after = own.copy()
    edits.add_rescue_disk(after, samples.MEDIUM, device, bus)
    return recognise.rescue_disk(after), after


class PcTest(base.BaseTestCase):
    def test_next_slot_above_all(self) -> None:
        self.assertEqual(Pci(0, 0, 9), pci.last_place(samples.domain("pc")).address)

    def test_a_hole_is_not_filled(self) -> None:
        """LIBVIRT F7: libvirt's own choice would be the hole."""
        own = samples.domain("pc")
        samples.remove_disk(own, "vdb")
        self.assertEqual(Pci(0, 0, 9), pci.last_place(own).address)

    def test_full_behind_the_last_device_is_refused(self) -> None:
        own = samples.domain("pc")
        samples.add_disk(own, "vde", "virtio", samples.pci(0, 31))
        refused = self.assertRaises(exception.Refused, rescue, own, "virtio")
        self.assertIn("no room", str(refused))

    def test_a_gap_is_taken_if_allowed_the_last_first(self) -> None:
        own = samples.domain("pc")
        samples.add_disk(own, "vde", "virtio", samples.pci(0, 31))
        place = pci.last_place(own, gaps=True)
        self.assertEqual((Pci(0, 0, 30), True), (place.address, place.in_gap))

    def test_behind_a_bridge_that_is_in_use(self) -> None:
        own = samples.domain("pc")
        samples.add(
            own,
            "<controller type='pci' index='1' model='pci-bridge'>"
            f"<address {samples.pci(0, 20)}/></controller>",
        )
        self.assertEqual(Pci(0, 0, 21), pci.last_place(own).address)
        samples.add_disk(own, "vde", "virtio", samples.pci(1, 4))
        self.assertEqual(Pci(0, 1, 5), pci.last_place(own).address)

    def test_an_empty_bridge_helps_a_full_bus(self) -> None:
        own = samples.domain("pc")
        samples.add_disk(own, "vde", "virtio", samples.pci(0, 31))
        samples.add(
            own,
            "<controller type='pci' index='1' model='pci-bridge'>"
            f"<address {samples.pci(0, 20)}/></controller>",
        )
        self.assertEqual(Pci(0, 1, 1), pci.last_place(own).address)


class Q35Test(base.BaseTestCase):
    def test_behind_the_bridges_of_older_libvirt(self) -> None:
        """They hold all devices there, and no port's bus number may come before."""
        own = samples.domain("q35")
        for index, model, place in (
            (30, "dmi-to-pci-bridge", samples.pci(0, 0x1E)),
            (31, "pci-bridge", samples.pci(30, 1)),
        ):
            samples.add(
                own,
                f"<controller type='pci' index='{index}' model='{model}'>"
                f"<address {place}/></controller>",
            )
        samples.add_disk(own, "vdx", "virtio", samples.pci(31, 4))
        self.assertEqual(Pci(0, 31, 5), pci.last_place(own).address)

    def test_first_empty_port_behind_all(self) -> None:
        place = pci.last_place(samples.domain("q35"))
        self.assertEqual((Pci(0, 7, 0), None), (place.address, place.port))

    def test_a_port_emptied_by_an_unplug_is_a_hole(self) -> None:
        own = samples.domain("q35")
        samples.remove_disk(own, "vda")
        self.assertEqual(Pci(0, 7, 0), pci.last_place(own).address)

    def test_new_port_where_the_last_is_taken(self) -> None:
        own = samples.domain("q35")
        samples.add_disk(own, "vdd", "virtio", samples.pci(16, 0))
        place = pci.last_place(own)
        self.assertEqual(Pci(0, 17, 0), place.address)
        self.assertEqual("17", place.port.get("index"))
        self.assertEqual(Pci(0, 0, 4, 0), Pci.of(place.port))
        self.assertEqual("0x20", place.port.find("target").get("port"))

    def test_new_port_takes_a_free_function_of_the_last_slot(self) -> None:
        own = samples.domain("q35")
        for controller in list(own.controllers("pci")):
            if controller.get("index") == "16":
                own.devices.remove(controller)
        samples.add_disk(own, "vdd", "virtio", samples.pci(15, 0))
        place = pci.last_place(own)
        self.assertEqual(Pci(0, 16, 0), place.address)
        self.assertEqual(Pci(0, 0, 3, 7), Pci.of(place.port))

    def test_ports_number_their_chassis_apart(self) -> None:
        own = samples.domain("q35")
        samples.add_disk(own, "vdd", "virtio", samples.pci(16, 0))
        for controller in own.controllers("pci"):
            if controller.get("index") == "3":
                controller.find("target").set("chassis", "17")
        self.assertEqual("18", pci.last_place(own).port.find("target").get("chassis"))

    def test_no_room_for_a_port_is_refused(self) -> None:
        own = samples.domain("q35")
        samples.add_disk(own, "vdd", "virtio", samples.pci(16, 0))
        for slot in range(4, 0x1F):
            samples.add_disk(own, f"vd{slot}", "virtio", samples.pci(0, slot))
        self.assertRaises(exception.Refused, pci.last_place, own)

    def test_devices_behind_a_late_bridge_are_not_overtaken(self) -> None:
        own = samples.domain("q35")
        samples.add(
            own,
            "<controller type='pci' index='17' model='dmi-to-pci-bridge'>"
            f"<address {samples.pci(0, 0x1E)}/></controller>",
        )
        samples.add_disk(own, "vdd", "virtio", samples.pci(17, 1))
        self.assertRaises(exception.Refused, pci.last_place, own)


@ddt.ddt
class ControllerTest(base.BaseTestCase):
    def test_usb_gets_an_xhci_of_its_own(self) -> None:
        """UPSTREAM U33."""
        own = samples.domain("pc")
        for controller in own.controllers("usb"):
            controller.set("model", "piix3-uhci")
        disk, after = rescue(own, "usb")
        self.assertEqual(
            [("0", "piix3-uhci"), ("1", "qemu-xhci")],
            [(c.get("index"), c.get("model")) for c in after.controllers("usb")],
        )
        self.assertEqual(
            {"type": "usb", "bus": "1", "port": "1"}, dict(disk.find("address").attrib)
        )

    def test_scsi_joins_the_last_controller_behind_its_last_disk(self) -> None:
        own = samples.domain("q35")
        samples.add(
            own,
            "<controller type='scsi' index='0' model='virtio-scsi'>"
            f"<address {samples.pci(7, 0)}/></controller>",
        )
        for unit in (0, 3):
            samples.add_disk(
                own, f"sd{'xy'[unit % 2]}", "scsi", samples.drive(0, 0, 0, unit)
            )
        disk, after = rescue(own, "scsi")
        self.assertEqual(Drive(0, 0, 0, 4), Drive.of(disk))
        self.assertEqual(1, len(list(after.controllers("scsi"))))

    def test_scsi_goes_to_the_next_target_behind_256_units(self) -> None:
        own = samples.domain("q35")
        samples.add(
            own,
            "<controller type='scsi' index='0' model='virtio-scsi'>"
            f"<address {samples.pci(7, 0)}/></controller>",
        )
        samples.add_disk(own, "sdz", "scsi", samples.drive(0, 0, 0, 255))
        disk, _after = rescue(own, "scsi")
        self.assertEqual(Drive(0, 0, 1, 0), Drive.of(disk))

    @ddt.data("scsi", "sata")
    def test_of_several_controllers_the_guests_last_is_joined(self, bus: str) -> None:
        """Guests name disks by where the controllers sit, not by their index."""
        own = samples.domain("pc")
        model = "model='virtio-scsi'" if bus == "scsi" else ""
        for index, slot in ((0, 20), (1, 10)):
            samples.add(
                own,
                f"<controller type='{bus}' index='{index}' {model}>"
                f"<address {samples.pci(0, slot)}/></controller>",
            )
            name = "sd" + "ab"[index]
            samples.add_disk(own, name, bus, samples.drive(index, 0, 0, 0))
        disk, _after = rescue(own, bus)
        self.assertEqual(Drive(0, 0, 0, 1), Drive.of(disk))

    def test_a_controller_before_another_is_not_joined(self) -> None:
        own = samples.domain("pc")
        for index, slot, model in ((0, 20, "lsilogic"), (1, 10, "virtio-scsi")):
            samples.add(
                own,
                f"<controller type='scsi' index='{index}' model='{model}'>"
                f"<address {samples.pci(0, slot)}/></controller>",
            )
        disk, after = rescue(own, "scsi")
        self.assertEqual(Drive(2, 0, 0, 0), Drive.of(disk))
        self.assertEqual(Pci(0, 0, 21), Pci.of(list(after.controllers("scsi"))[-1]))

    def test_scsi_never_joins_an_lsilogic(self) -> None:
        """LIBVIRT F4: OVMF has no driver for it, and boots the original."""
        own = samples.domain("pc")
        samples.add(
            own,
            "<controller type='scsi' index='0' model='lsilogic'>"
            f"<address {samples.pci(0, 9)}/></controller>",
        )
        disk, after = rescue(own, "scsi")
        self.assertEqual(Drive(1, 0, 0, 0), Drive.of(disk))
        added = list(after.controllers("scsi"))[-1]
        self.assertEqual(
            ("virtio-scsi", Pci(0, 0, 10)), (added.get("model"), Pci.of(added))
        )

    def test_a_scsi_hostdev_keeps_its_unit(self) -> None:
        own = samples.domain("q35")
        samples.add(
            own,
            "<controller type='scsi' index='0' model='virtio-scsi'>"
            f"<address {samples.pci(7, 0)}/></controller>",
        )
        samples.add(
            own,
            "<hostdev mode='subsystem' type='scsi'><source/>"
            f"<address {samples.drive(0, 0, 0, 5)}/></hostdev>",
        )
        disk, _after = rescue(own, "scsi")
        self.assertEqual(Drive(0, 0, 0, 6), Drive.of(disk))

    @ddt.data(("ide", 4), ("fdc", 2))
    @ddt.unpack
    def test_full_buses_are_refused(self, bus: str, room: int) -> None:
        own = samples.domain("pc")
        for place in range(room):
            number, unit = divmod(place, 2) if bus == "ide" else (0, place)
            address = samples.drive(0, number, 0, unit)
            samples.add_disk(own, f"{bus}{place}", bus, address)
        refused = self.assertRaises(exception.NoRoom, rescue, own, bus)
        self.assertEqual(f"no room is left on the {bus} bus", str(refused))

    def test_room_in_a_gap_alone_is_taken_only_if_allowed(self) -> None:
        own = samples.domain("pc")
        samples.add_disk(own, "hdd", "ide", samples.drive(0, 1, 0, 1))
        refused = self.assertRaises(exception.NoRoom, rescue, own, "ide")
        self.assertIn("behind its last disk", str(refused))
        edits.add_rescue_disk(own, samples.MEDIUM, "disk", "ide", gaps=True)
        self.assertEqual(Drive(0, 1, 0, 0), Drive.of(recognise.rescue_disk(own)))

    @ddt.data(("pc", "ide", Pci(0, 0, 1, 1)), ("q35", "sata", Pci(0, 0, 31, 2)))
    @ddt.unpack
    def test_the_chipsets_own_controller_is_named(
        self, machine_type: str, bus: str, place: Pci
    ) -> None:
        """libvirt leaves it out of definitions without a disk on it."""
        own = samples.domain(machine_type)
        for device in [*own.disks(bus), *own.controllers(bus)]:
            own.devices.remove(device)
        disk, after = rescue(own, bus)
        self.assertEqual(Drive(0, 0, 0, 0), Drive.of(disk))
        (controller,) = after.controllers(bus)
        self.assertEqual(place, Pci.of(controller))

    def test_the_chipsets_place_taken_by_another(self) -> None:
        own = samples.domain("pc")
        for controller in own.controllers("ide"):
            own.devices.remove(controller)
        samples.add(own, f"<rng><address {samples.pci(0, 1, 1)}/></rng>")
        refused = self.assertRaises(exception.NoRoom, rescue, own, "ide")
        self.assertIn("of the machine's ide controller", str(refused))

    def test_a_second_ahci_behind_six_disks(self) -> None:
        own = samples.domain("q35")
        for unit in range(1, 6):
            samples.add_disk(own, f"sd{unit}", "sata", samples.drive(0, 0, 0, unit))
        disk, after = rescue(own, "sata")
        self.assertEqual(Drive(1, 0, 0, 0), Drive.of(disk))
        added = list(after.controllers("sata"))[-1]
        self.assertEqual(Pci(0, 7, 0), Pci.of(added))

    def test_a_pc_has_sata_where_it_has_an_ahci(self) -> None:
        own = samples.domain("pc")
        samples.add(
            own,
            "<controller type='sata' index='0'>"
            f"<address {samples.pci(0, 9)}/></controller>",
        )
        machine.check(own, "cdrom", "sata")
        disk, _after = rescue(own, "sata")
        self.assertEqual(Drive(0, 0, 0, 0), Drive.of(disk))

    def test_usb_leaves_bus_0_to_what_libvirt_does_not_tell(self) -> None:
        """The migratable form of a running domain leaves out the default controller.

        (libvirt, qemuDomainDefFormatBufInternal: a lone piix3-uhci of index 0.)
        """
        own = samples.domain("pc")
        own.devices.remove(next(own.controllers("usb")))
        samples.add(
            own,
            "<input type='tablet' bus='usb'><address type='usb' bus='0' port='2'/>"
            "</input>",
        )
        disk, after = rescue(own, "usb")
        self.assertEqual("1", disk.find("address").get("bus"))
        self.assertEqual(["1"], [c.get("index") for c in after.controllers("usb")])

    def test_a_floppy_controller_that_is_there_is_taken(self) -> None:
        """It has no address, hence no child: not a reason to add a second."""
        own = samples.domain("pc")
        samples.add(own, "<controller type='fdc' index='0'/>")
        _disk, after = rescue(own, "fdc", "floppy")
        self.assertEqual(1, len(list(after.controllers("fdc"))))

    def test_target_names_follow_the_highest(self) -> None:
        own = samples.domain("q35")
        samples.add_disk(own, "vdz", "virtio", samples.pci(7, 0))
        disk, _after = rescue(own, "virtio")
        self.assertEqual("vdaa", disk.find("target").get("dev"))

    def test_buses_that_share_a_prefix_share_the_names(self) -> None:
        disk, _after = rescue(samples.domain("q35"), "usb")  # sda is the config drive
        self.assertEqual("sdb", disk.find("target").get("dev"))

    def test_a_cdrom_is_read_only_and_a_disk_is_not(self) -> None:
        """LIBVIRT.md: libvirt refuses readonly on sata and ide disks."""
        cdrom, _after = rescue(samples.domain("q35"), "sata", "cdrom")
        disk, _after = rescue(samples.domain("q35"), "sata")
        self.assertIsNotNone(cdrom.find("readonly"))
        self.assertIsNone(disk.find("readonly"))
