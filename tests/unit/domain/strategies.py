# SPDX-License-Identifier: Apache-2.0
"""Hypothesis strategies for domains with a long history of attached devices.

They have holes left by unplugged devices, root ports in any order, devices next to and
behind bridges, several controllers of a kind, and gaps between units. libvirt accepts
all of this, and Nova's servers get there over the years.
"""

from dataclasses import dataclass, field

from hypothesis import strategies as st
from lxml import etree

from stable_rescue.plan import RescueRequest

MACHINES = {
    "pc": ("x86_64", ("pc", "pc-i440fx-7.2")),
    "q35": ("x86_64", ("q35", "pc-q35-7.2")),
    "virt": ("aarch64", ("virt", "virt-7.2")),
}
# Units around limits: 7 is the initiator of a narrow lsilogic, 16 the number of its
# targets, 26 the number of names with one letter.
_UNITS = (0, 1, 2, 5, 6, 7, 8, 15, 16, 17, 25, 26, 27, 254, 255)
_PLAIN = ("disk", "disk", "nic", "rng", "hostdev", "filesystem")
_SCSI_MODELS = ("virtio-scsi", "virtio-transitional", "lsilogic")
_TABLET = (
    "<input type='tablet' bus='usb'><address type='usb' bus='0' port='{}'/></input>"
)
# The elements of the kinds of device, without their addresses.
_XML = {
    "nic": "<interface type='bridge'><mac address='fa:16:3e:00:00:{:02x}'/>"
    "<source bridge='br'/><target dev='tap{}'/><model type='virtio'/></interface>",
    "rng": "<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>",
    "hostdev": "<hostdev mode='subsystem' type='pci' managed='yes'><source>"
    "<address domain='0x0000' bus='0x81' slot='0x{:02x}' function='0x0'/>"
    "</source></hostdev>",
    "filesystem": "<filesystem type='mount'><driver type='virtiofs'/>"
    "<source dir='/share{}'/><target dir='share{}'/></filesystem>",
}

Place = tuple[int, int, int]


@dataclass
class Builder:
    """A domain that is being drawn."""

    draw: st.DrawFn
    machine: str
    devices: list[etree._Element] = field(default_factory=list)
    free: list[Place] = field(default_factory=list)
    targets: dict[str, list[str]] = field(default_factory=dict)
    drawn: int = 0

    def chance(self) -> bool:
        return bool(self.draw(st.booleans()))

    def number(self, low: int, high: int) -> int:
        return int(self.draw(st.integers(low, high)))

    def some(self, values, most: int | None = None) -> list:
        """Draw some of the values, each at most once."""
        values = list(values)
        if not values:
            return []
        return self.draw(st.lists(st.sampled_from(values), unique=True, max_size=most))

    def add(self, xml: str, place: Place | None = None, more: str = "") -> None:
        element = etree.fromstring(xml)
        if place is not None:
            bus, slot, function = place
            element.append(
                etree.fromstring(
                    f"<address type='pci' domain='0x0000' bus='0x{bus:02x}' "
                    f"slot='0x{slot:02x}' function='0x{function:x}' {more}/>"
                )
            )
        self.devices.append(element)

    def place(self) -> Place | None:
        """Draw one of the free places; return None if there is none."""
        if not self.free:
            return None
        return self.free.pop(self.number(0, len(self.free) - 1))

    def add_disk(self, bus: str, address: str | Place, device: str = "disk") -> None:
        prefix = {"virtio": "vd", "ide": "hd", "fdc": "fd"}.get(bus, "sd")
        names = self.targets.setdefault(prefix, _names(prefix))
        name = names.pop(self.number(0, min(3, len(names) - 1)))
        more = "<readonly/>" if device == "cdrom" else ""
        self.drawn += 1
        pci = isinstance(address, tuple)
        xml = (
            f"<disk type='file' device='{device}'><driver name='qemu' type='raw'/>"
            f"<source file='/images/{self.drawn}'/>"
            f"<target dev='{name}' bus='{bus}'/>{more}"
            f"{'' if pci else address}</disk>"
        )
        self.add(xml, address if pci else None)

    def add_plain(self, kind: str, place: Place) -> None:
        self.drawn += 1
        if kind == "disk":
            self.add_disk("virtio", place)
        else:
            self.add(_XML[kind].format(self.drawn, self.drawn), place)


@st.composite
def domains(draw: st.DrawFn, machine: str | None = None) -> str:
    """Draw a definition of one of the machines."""
    family = machine or draw(st.sampled_from(sorted(MACHINES)))
    builder = Builder(draw, family)
    if family == "pc":
        _conventional(builder)
    else:
        _express(builder)
    _usb(builder)
    _controllers(builder)
    if draw(st.integers(0, 7)):
        kinds = draw(st.lists(st.sampled_from(_PLAIN), min_size=1, max_size=12))
    else:
        kinds = ["disk"] * len(builder.free)  # as many as fit
    for kind in kinds:
        place = builder.place() if len(kinds) <= 12 else builder.free.pop()
        if place is not None:
            builder.add_plain(kind, place)
    return _document(builder, family)


def _names(prefix: str) -> list[str]:
    letters = "abcdefghijklmnopqrstuvwxyz"
    every = [*letters, *(a + b for a in "abc" for b in letters)]
    return [prefix + name for name in every]


def _conventional(builder: Builder) -> None:
    """Draw the buses of a pc: any slots, with or without pci-bridges."""
    builder.add("<controller type='pci' index='0' model='pci-root'/>")
    bridges = builder.some(range(3, 32), most=2)
    buses = [range(3, 32), *(range(1, 32) for _ in bridges)]
    for index, slot in enumerate(bridges, 1):
        builder.add(
            f"<controller type='pci' index='{index}' model='pci-bridge'>"
            f"<model name='pci-bridge'/><target chassisNr='{index}'/></controller>",
            (0, slot, 0),
        )
    taken = {(0, slot) for slot in bridges}
    for bus, slots in enumerate(buses):
        free = [slot for slot in slots if (bus, slot) not in taken]
        builder.free += [(bus, slot, 0) for slot in _history(builder, free)]


def _history(builder: Builder, slots: list[int]) -> list[int]:
    """Draw the highest slot that a bus has ever used."""
    last = builder.draw(st.sampled_from((6, 12, 31, 31)))
    return [slot for slot in slots if slot <= last]


def _express(builder: Builder) -> None:
    """Draw the root ports of q35 and virt: any functions in any order, some empty."""
    builder.add("<controller type='pci' index='0' model='pcie-root'/>")
    slots = builder.some(range(2, 0x1C), most=3)
    places: list[tuple[Place, str]] = []
    for slot in sorted(slots):
        functions = builder.number(1, 8)
        several = "multifunction='on'" if functions > 1 or builder.chance() else ""
        places += [
            ((0, slot, function), "" if function else several)
            for function in range(functions)
        ]
    if builder.chance():
        places = builder.draw(st.permutations(places))
    for index, (place, several) in enumerate(places, 1):
        builder.add(
            f"<controller type='pci' index='{index}' model='pcie-root-port'>"
            f"<model name='pcie-root-port'/><target chassis='{index}' "
            f"port='0x{place[1] << 3 | place[2]:x}'/></controller>",
            place,
            several,
        )
        builder.free.append((index, 0, 0))
    if builder.free and builder.draw(st.integers(0, 3)) == 0:
        index = len(places) + 1
        bridge = builder.place()
        builder.add(
            f"<controller type='pci' index='{index}' model='pcie-to-pci-bridge'>"
            "<model name='pcie-pci-bridge'/></controller>",
            bridge,
        )
        builder.free += [(index, slot, 0) for slot in range(1, 8)]
    if builder.chance():  # integrated endpoints
        used = set(slots)
        builder.free += [(0, slot, 0) for slot in range(2, 0x1B) if slot not in used][
            :4
        ]


def _usb(builder: Builder) -> None:
    """Draw the USB controllers; the migratable form leaves out the default one."""
    kind = builder.draw(st.sampled_from(("none", "absent", "xhci", "two", "ich9")))
    tablet = builder.chance() and kind != "none"
    place = builder.place() if kind not in ("none", "absent") else None
    if kind == "none":
        builder.add("<controller type='usb' index='0' model='none'/>")
    elif kind == "ich9" and builder.machine == "pc" and place:
        bus, slot, _function = place
        for model, start, function in (
            ("ich9-ehci1", "", 7),
            ("ich9-uhci1", "<master startport='0'/>", 0),
            ("ich9-uhci2", "<master startport='2'/>", 1),
            ("ich9-uhci3", "<master startport='4'/>", 2),
        ):
            builder.add(
                f"<controller type='usb' index='0' model='{model}'>{start}"
                "</controller>",
                (bus, slot, function),
                "" if function else "multifunction='on'",
            )
    elif place:
        builder.add("<controller type='usb' index='0' model='qemu-xhci'/>", place)
        second = builder.place() if kind == "two" else None
        if second:
            builder.add("<controller type='usb' index='1' model='qemu-xhci'/>", second)
    elif builder.machine != "pc":
        tablet = False
    if tablet:
        builder.add(_TABLET.format(1))
        if builder.chance():
            builder.add_disk("usb", "<address type='usb' bus='0' port='2'/>")


def _controllers(builder: Builder) -> None:
    """Draw controllers with units: scsi, the chipset's and a floppy's."""
    for index in range(builder.number(0, 3)):
        place = builder.place()
        if place is None:
            break
        model = builder.draw(st.sampled_from(_SCSI_MODELS))
        builder.add(f"<controller type='scsi' index='{index}' model='{model}'/>", place)
        for unit in builder.some(_UNITS, most=4):
            target = builder.draw(st.sampled_from((0, 0, 0, 3)))
            _add_scsi(builder, f"controller='{index}' bus='0' target='{target}'", unit)
    if builder.machine == "q35":
        builder.add("<controller type='sata' index='0'/>", (0, 0x1F, 2))
        _on_units(builder, "sata", [(0, 0, unit) for unit in range(6)])
        second = builder.place() if builder.chance() else None
        if second:
            builder.add("<controller type='sata' index='1'/>", second)
            _on_units(builder, "sata", [(1, 0, unit) for unit in range(6)])
    if builder.machine == "pc":
        builder.add("<controller type='ide' index='0'/>", (0, 1, 1))
        _on_units(builder, "ide", [(0, bus, unit) for bus in (0, 1) for unit in (0, 1)])
    if builder.machine != "virt" and builder.draw(st.integers(0, 3)) == 0:
        builder.add("<controller type='fdc' index='0'/>")
        _on_units(builder, "fdc", [(0, 0, 0), (0, 0, 1)])


def _add_scsi(builder: Builder, where: str, unit: int) -> None:
    address = f"<address type='drive' {where} unit='{unit}'/>"
    if builder.draw(st.integers(0, 5)) == 0:
        builder.add(
            "<hostdev mode='subsystem' type='scsi'><source><adapter name='scsi_host0'/>"
            f"<address bus='0' target='0' unit='{unit}'/></source>{address}</hostdev>"
        )
    else:
        device = builder.draw(st.sampled_from(("disk", "disk", "cdrom")))
        builder.add_disk("scsi", address, device)


def _on_units(builder: Builder, bus: str, units: list[tuple[int, int, int]]) -> None:
    for controller, channel, unit in builder.some(units):
        address = (
            f"<address type='drive' controller='{controller}' bus='{channel}' "
            f"target='0' unit='{unit}'/>"
        )
        kinds = ("floppy",) if bus == "fdc" else ("disk", "cdrom")
        builder.add_disk(bus, address, builder.draw(st.sampled_from(kinds)))


def _document(builder: Builder, family: str) -> str:
    """Return the definition, with the other elements that a server may have."""
    draw = builder.draw
    arch, machines = MACHINES[family]
    name = draw(st.sampled_from(machines))
    root = etree.fromstring(
        "<domain type='kvm' xmlns:q='http://libvirt.org/schemas/domain/qemu/1.0'>"
        "<name>instance-00000001</name>"
        "<uuid>0f4b0a6e-7c3c-4d5e-9f60-5a1b2c3d4e35</uuid>"
        "<metadata><n:i xmlns:n='urn:n'><!-- kept --><n:name> wéb </n:name></n:i>"
        "</metadata><memory unit='KiB'>131072</memory>"
        f"<os><type arch='{arch}' machine='{name}'>hvm</type></os>"
        "<devices><emulator>/usr/bin/qemu</emulator></devices>"
        "<q:commandline><q:arg value='-s'/></q:commandline></domain>"
    )
    os_element, devices = root.find("os"), root.find("devices")
    _boots(builder, os_element)
    if family == "virt" or builder.chance():
        uefi = "<loader readonly='yes' type='pflash'>/code.fd</loader>"
        os_element.append(etree.fromstring(uefi))
        os_element.append(etree.fromstring("<nvram>/vars/1.fd</nvram>"))
        if builder.chance():
            os_element.set("firmware", "efi")
    if draw(st.integers(0, 4)) == 0:
        for tag in ("kernel", "initrd", "cmdline"):
            etree.SubElement(os_element, tag).text = "/x"
    if builder.chance():
        for number, device in enumerate(builder.devices):
            etree.SubElement(device, "alias", name=f"ua-{number}")
    if builder.chance():
        builder.devices = draw(st.permutations(builder.devices))
    devices.extend(builder.devices)
    return etree.tostring(root, encoding="unicode")


def _boots(builder: Builder, os_element: etree._Element) -> None:
    """Draw boot orders: in <os>, on some devices, or none."""
    kind = builder.draw(st.sampled_from(("os", "devices", "none")))
    if kind == "os":
        for device in ("hd", "network"):
            etree.SubElement(os_element, "boot", dev=device)
    bootable = [d for d in builder.devices if d.tag in ("disk", "interface", "hostdev")]
    if kind == "devices":
        for order, device in enumerate(builder.some(bootable, most=3), 1):
            etree.SubElement(device, "boot", order=str(order))


def requests() -> st.SearchStrategy[RescueRequest]:
    """Draw the request of a rescue image and the settings of an operator.

    Most requests are possible on some machine; a few are possible on none.
    """
    disks = (None, "virtio", "scsi", "usb", "sata", "ide")
    wanted = [
        *(("disk", bus) for bus in disks for _often in range(4)),
        *(("cdrom", bus) for bus in (None, "scsi", "usb", "sata", "ide", "virtio")),
        *(("floppy", bus) for bus in (None, "fdc", "usb")),
        ("disk", "fdc"),
    ]
    return st.builds(
        lambda device_and_bus, *rest: RescueRequest(*device_and_bus, *rest),
        st.sampled_from(wanted),
        st.sampled_from(((), disks[1:], disks[:0:-1])),
        st.sampled_from((False, False, False, True)),
    )
