# SPDX-License-Identifier: Apache-2.0
"""Every combination of server and rescue device, put to libvirt and judged there.

The servers: machine x firmware x history x USB x virtio-scsi units. The rescue devices:
each device on each bus, the impossible pairs too. Nothing is sampled away.
"""

import itertools
import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import libvirt
from lxml import etree

from stable_rescue import plan
from stable_rescue.domain import compare
from stable_rescue.domain.document import Domain
from stable_rescue.domain.medium import Medium
from stable_rescue.domain.recognise import RESCUE_ALIAS
from stable_rescue.exception import Refused
from tests.integration import base
from tests.integration.scene import Scene

HISTORIES = ("none", "hole", "filled", "full")
DEVICES = ("disk", "cdrom", "floppy")
BUSES = ("virtio", "scsi", "usb", "sata", "ide", "fdc")
PAIRS = tuple(itertools.product(DEVICES, BUSES))

USB = {
    "none": "<controller type='usb' index='0' model='none'/>",
    "two inputs": "",
    "xhci": "<controller type='usb' index='0' model='qemu-xhci' ports='15'/>",
}
# Two inputs on each machine's old way: USB 1 on pc, USB 2 with companions on q35.
_INPUTS = {
    "pc": "<controller type='usb' index='0' model='piix3-uhci'/>",
    "q35": "<controller type='usb' index='0' model='ich9-ehci1'/>"
    + "".join(
        f"<controller type='usb' index='0' model='ich9-uhci{number}'>"
        f"<master startport='{2 * number - 2}'/></controller>"
        for number in (1, 2, 3)
    ),
}
SCSI = {
    "none": (),
    "gaps": (0, 2, 5),
    "7": range(7),
    "16": range(16),
    "26": range(26),
}

_VALIDATE = libvirt.VIR_DOMAIN_DEFINE_VALIDATE
_CONFIG = libvirt.VIR_DOMAIN_AFFECT_CONFIG
_MEDIUM = Medium.from_file("/nonexistent/disk.rescue")
# All that a rescue may say otherwise outside the devices (DESIGN.md, edits 1 and 6).
_MAY_DIFFER = re.compile(r"os/(boot|nvram)(\[\d+\])?(@.+)?")


@dataclass(frozen=True)
class Original:
    """A server before its rescue."""

    machine: str
    firmware: str
    history: str = "none"
    usb: str = "xhci"
    scsi: str = "none"

    def __str__(self) -> str:
        parts = (self.machine, self.firmware, self.history, self.usb, self.scsi)
        return "/".join(parts)

    @property
    def family(self) -> str:
        """pc or q35, whatever the machine's version."""
        return "q35" if "q35" in self.machine else "pc"

    def define(self) -> libvirt.virDomain:
        """Define it in libvirt, with its history; its files need not exist.

        :raises libvirt.libvirtError: where libvirt itself refuses such a server
        """
        scene, definition = self._definition()
        domain = base.connection().defineXMLFlags(definition.to_xml(), _VALIDATE)
        try:
            return self._live_through(scene, domain)
        except libvirt.libvirtError:
            remove(domain)
            raise

    def _definition(self) -> tuple[Scene, Domain]:
        scene = Scene(
            Path("/nonexistent"),
            self.family,
            "bios" if self.firmware == "bios" else "uefi",
            usb=USB[self.usb] or _INPUTS[self.family],
        )
        definition = Domain.parse(scene.xml())
        kind = definition.root.find("os/type")
        kind.set("machine", self.machine)
        if self.usb == "two inputs":
            _append(definition, "<input type='keyboard' bus='usb'/>")
        if self.scsi != "none":
            _append(
                definition, "<controller type='scsi' index='0' model='virtio-scsi'/>"
            )
        for place, unit in enumerate(SCSI[self.scsi], 1):
            _append(definition, _scsi_disk(place, unit))
        if self.firmware == "uefi secure boot":
            _secure(definition)
        return scene, definition

    def _live_through(
        self, scene: Scene, domain: libvirt.virDomain
    ) -> libvirt.virDomain:
        if self.history == "full":
            return _fill(domain)
        if self.history in ("hole", "filled"):
            domain.detachDeviceFlags(scene.volume_xml(1, "vdd"), _CONFIG)
        if self.history == "filled":  # out of order, and more than there was
            for number, target in ((4, "vdf"), (5, "vdd")):
                domain.attachDeviceFlags(scene.volume_xml(number, target), _CONFIG)
            domain.attachDeviceFlags(scene.nic_xml(2), _CONFIG)
        return domain


@dataclass(frozen=True)
class Result:
    """What became of one rescue device on one server.

    A case holds where there are no complaints: a rescue that was refused has a
    message, one that was derived has been judged.
    """

    original: Original
    device: str
    bus: str
    message: str = ""
    complaints: tuple[str, ...] = ()

    def __str__(self) -> str:
        case = f"{self.original} {self.device} on {self.bus}"
        return f"{case}: {'; '.join(self.complaints)}"


def originals(machine: str, firmware: str) -> Iterator[Original]:
    """Yield every server of a machine and a firmware."""
    for history, usb, scsi in itertools.product(HISTORIES, USB, SCSI):
        yield Original(machine, firmware, history, usb, scsi)


def run(machine: str, firmware: str) -> list[Result]:
    """Put every case of a machine and a firmware to libvirt."""
    found = []
    for original in originals(machine, firmware):
        found += run_pairs(original, PAIRS)
    return found


def run_pairs(original: Original, pairs: tuple[tuple[str, str], ...]) -> list[Result]:
    """Put rescue devices on one server to libvirt, and judge what it makes of them.

    :raises libvirt.libvirtError: where libvirt refuses the server itself
    """
    domain = original.define()
    try:
        judge = Judge(base.definition(domain))
        return [
            Result(original, device, bus, *judge.case(domain, device, bus))
            for device, bus in pairs
        ]
    finally:
        remove(domain)


def remove(domain: libvirt.virDomain) -> None:
    """Forget a domain that was only ever defined."""
    domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_KEEP_NVRAM)


class Judge:
    """Says what is wrong with rescues of one server, by what libvirt makes of them."""

    def __init__(self, own: str, command_line: bool = True) -> None:
        """Judge rescues of a server.

        :param command_line: by what QEMU would be told, too
        """
        self.own = own
        self.told = qemu_devices(own)[0] if command_line else None

    def case(
        self, domain: libvirt.virDomain, device: str, bus: str
    ) -> tuple[str, tuple[str, ...]]:
        """Return the message of a refusal, or none, and the complaints."""
        request = plan.RescueRequest(device, bus)
        try:
            derived = plan.derive(self.own, request, _MEDIUM)
        except Refused as refusal:
            return str(refusal), tuple(self._unchanged(domain))
        try:
            rescue = base.connection().defineXMLFlags(derived.after, _VALIDATE)
        except libvirt.libvirtError as error:
            return "", (f"libvirt refuses: {error}",)
        complaints = list(self.definition(derived, base.definition(rescue)))
        base.connection().defineXML(self.own)
        return "", (*complaints, *self._unchanged(domain))

    def _unchanged(self, domain: libvirt.virDomain) -> Iterator[str]:
        if base.definition(domain) != self.own:
            yield "the original is not what it was"

    def definition(self, derived: plan.RescuePlan, got: str) -> Iterator[str]:
        """Yield what is wrong with a rescue definition as libvirt gives it back."""
        kept = compare.compare(derived.after, got)
        if kept.disturbed or kept.changed or kept.appeared or kept.rest:
            yield f"libvirt made something else of it: {kept}"
        found = compare.compare(self.own, got)
        yield from self._devices(found)
        if bad := [path for path in found.rest if not _MAY_DIFFER.fullmatch(path)]:
            yield f"changed outside the devices: {bad}"
        yield from _highest(Domain.parse(got))
        if self.told is not None:
            yield from self._command_line(got, self.told)

    @staticmethod
    def _devices(found: compare.Comparison) -> Iterator[str]:
        if found.disturbed:
            yield f"disturbed: {found}"
        for change in found.changed:
            if set(change.changed) - {"boot", "boot@order"}:
                yield f"changed: {change.device} {change.changed}"
        disks = [device for device in found.appeared if device.kind == "disk"]
        others = {device.kind for device in found.appeared} - {"disk", "controller"}
        if len(disks) != 1 or others:
            yield f"appeared: {[str(device) for device in found.appeared]}"

    @staticmethod
    def _command_line(got: str, before: dict[str, dict[str, Any]]) -> Iterator[str]:
        """Yield where QEMU is told otherwise of a device it was told of before."""
        told, booting = qemu_devices(got)
        for name, arguments in before.items():
            if told.get(name) != arguments:
                yield f"QEMU is told {told.get(name)}, not {arguments}"
        if booting not in ([(RESCUE_ALIAS, 1)], [("isa-fdc", 1)]):
            yield f"QEMU is told to boot {booting}"


def qemu_devices(xml: str) -> tuple[dict[str, dict[str, Any]], list[tuple[str, int]]]:
    """Return QEMU's devices by id, and the ids that have a boot order, with it.

    The arguments of the devices are told without the boot order. That of a floppy is
    its controller's.
    """
    command = base.connection().domainXMLToNative("qemu-argv", xml)
    devices, booting = {}, []
    for option, argument in itertools.pairwise(shlex.split(command)):
        if option == "-global" and argument.startswith("isa-fdc.bootindex"):
            booting.append(("isa-fdc", int(argument.split("=")[1])))
        if option == "-device":
            told = json.loads(argument)
            # companions of a USB controller have no id
            name = told.get("id") or f"{told['driver']} {told.get('addr')}"
            for key in ("bootindex", "bootindexA", "bootindexB"):
                if key in told:
                    booting.append((name.removesuffix(" None"), told.pop(key)))
            told.pop("drive", None)  # a name with a counter in it
            devices[name] = told
    return devices, booting


# A position in the order in which a guest meets devices.
_Position = tuple[int, ...]


def _highest(definition: Domain) -> Iterator[str]:
    """Yield a complaint where the rescue disk is not the last one on its bus."""
    (alias,) = definition.root.iterfind(f"devices/disk/alias[@name='{RESCUE_ALIAS}']")
    rescue = alias.getparent()
    bus = rescue.find("target").get("bus")
    ours = _position(definition, rescue)
    for disk in definition.disks(bus):
        if disk is not rescue and _position(definition, disk) >= ours:
            name = disk.find("target").get("dev")
            yield f"{name} at {_position(definition, disk)} is not below {ours}"


def _position(definition: Domain, device: etree._Element) -> _Position:
    place = device.find("address")
    if place is None:
        return ()
    number = {
        key: int(text, 0)
        for key, text in place.items()
        if key not in ("type", "port", "multifunction")
    }
    if place.get("type") == "pci":
        own = (0, number["slot"], number["function"])
        if not number["bus"]:
            return own
        # Linux, drivers/pci/bus.c: what lies behind a bus's bridges comes last.
        *above, _device, slot, function = _controller(definition, "pci", number["bus"])
        return (*above, 1, slot, function, *own)
    if place.get("type") == "usb":
        ports = (int(part) for part in place.get("port").split("."))
        return (*_controller(definition, "usb", number["bus"]), *ports)
    kind = device.find("target").get("bus")
    own = (number["bus"], number["target"], number["unit"])
    return (*_controller(definition, kind, number["controller"]), *own)


def _controller(definition: Domain, kind: str, index: int) -> _Position:
    for controller in definition.controllers(kind):
        if controller.get("index") == str(index):
            return _position(definition, controller)
    raise AssertionError(f"there is no {kind} controller {index}")


def _append(definition: Domain, xml: str) -> None:
    definition.append_device(etree.fromstring(xml))


def _scsi_disk(place: int, unit: int) -> str:
    name = "sd" + ("aa" if place == 26 else chr(ord("a") + place))
    return (
        "<disk type='file' device='disk'><driver name='qemu' type='raw'/>"
        f"<source file='/nonexistent/scsi-{unit}'/><target dev='{name}' bus='scsi'/>"
        f"<address type='drive' controller='0' bus='0' target='0' unit='{unit}'/>"
        "</disk>"
    )


def _secure(definition: Domain) -> None:
    """Have secure boot, as Nova has it: with the firmware that is enrolled."""
    for path, file in (("loader", "CODE"), ("nvram", "VARS")):
        element = definition.root.find(f"os/{path}")
        firmware = f"/usr/share/OVMF/OVMF_{file}_4M.ms.fd"
        if path == "loader":
            element.set("secure", "yes")
            element.text = firmware
        else:
            element.set("template", firmware)
    etree.SubElement(definition.root.find("features"), "smm", state="on")


def _fill(domain: libvirt.virDomain) -> libvirt.virDomain:
    """Leave no PCI slot free on pc, and no root port on q35."""
    definition = Domain.parse(base.definition(domain))
    places = definition.root.iterfind("devices/*/address[@type='pci']")
    used = {(int(p.get("bus"), 16), int(p.get("slot"), 16)) for p in places}
    ports = definition.root.findall("devices/controller[@model='pcie-root-port']")
    free = [(int(port.get("index")), 0) for port in ports]
    if not ports:
        free = [(0, slot) for slot in range(1, 32)]
    names = (f"vd{a}{b}" for a in "ab" for b in "abcdefghijklmnopqrstuvwxyz")
    for (bus, slot), name in zip(sorted(set(free) - used), names, strict=False):
        _append(
            definition,
            "<disk type='file' device='disk'><driver name='qemu' type='raw'/>"
            f"<source file='/nonexistent/{name}'/><target dev='{name}' bus='virtio'/>"
            f"<address type='pci' bus='{bus:#04x}' slot='{slot:#04x}'/></disk>",
        )
    return base.connection().defineXMLFlags(definition.to_xml(), _VALIDATE)
