# SPDX-License-Identifier: Apache-2.0
"""Every combination of server and rescue device, defined in libvirt and judged.

The servers: machine x firmware x history x USB x virtio-scsi units. The rescue devices:
each device on each bus, the impossible pairs too. All combinations are run.
"""

import functools
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import libvirt
from lxml import etree

from stable_rescue import plan
from stable_rescue.domain import compare
from stable_rescue.domain.document import Domain
from stable_rescue.domain.medium import Medium
from stable_rescue.domain.recognize import RESCUE_ALIAS
from stable_rescue.exception import Refused
from tests.integration import base, hypervisor, qemu_argv
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
# For two inputs, the older controllers: USB 1 on pc, USB 2 with companions on q35.
_INPUT_CONTROLLERS = {
    "pc": "<controller type='usb' index='0' model='piix3-uhci'/>",
    "q35": "<controller type='usb' index='0' model='ich9-ehci1'/>"
    + "".join(
        f"<controller type='usb' index='0' model='ich9-uhci{number}'>"
        f"<master startport='{2 * number - 2}'/></controller>"
        for number in (1, 2, 3)
    ),
}
SCSI_UNITS = {
    "none": (),
    "gaps": (0, 2, 5),
    "7": range(7),
    "16": range(16),
    "26": range(26),
}

_CONFIG = libvirt.VIR_DOMAIN_AFFECT_CONFIG
# libvirt's schema of a domain.
_SCHEMA = "/usr/share/libvirt/schemas/domain.rng"
_MEDIUM = Medium.from_file("/nonexistent/disk.rescue")
# All that a rescue may change outside the devices (E1, E6). libvirt 11.3 adds the
# selection of the firmware to a definition that names its files (F39).
_MAY_DIFFER = re.compile(
    r"os/(boot|nvram)(\[\d+\])?(@.+)?|os@firmware|os/firmware(/feature(\[\d+\])?(@.+)?)?"
)


@dataclass(frozen=True)
class Original:
    """A server before its rescue, described by its values on each axis."""

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
        """Define the server and give it its history; its files need not exist.

        :raises libvirt.libvirtError: libvirt rejects the server
        """
        scene, definition = self._definition()
        domain = base.define(definition.to_xml())
        try:
            return self._give_history(scene, domain)
        except libvirt.libvirtError:
            undefine(domain)
            raise

    def _definition(self) -> tuple[Scene, Domain]:
        scene = Scene(
            Path("/nonexistent"),
            self.family,
            "bios" if self.firmware == "bios" else "uefi",
            usb=USB[self.usb] or _INPUT_CONTROLLERS[self.family],
        )
        definition = Domain.parse(scene.xml()).copy()
        definition.root.find("os/type").set("machine", self.machine)
        if self.usb == "two inputs":
            _append(definition, "<input type='keyboard' bus='usb'/>")
        if self.scsi != "none":
            _append(
                definition, "<controller type='scsi' index='0' model='virtio-scsi'/>"
            )
        for number, unit in enumerate(SCSI_UNITS[self.scsi], 1):
            _append(definition, _scsi_disk(number, unit))
        if self.firmware == "uefi secure boot":
            _enable_secure_boot(definition)
        return scene, definition

    def _give_history(
        self, scene: Scene, domain: libvirt.virDomain
    ) -> libvirt.virDomain:
        if self.history == "full":
            return fill(domain)
        if self.history in ("hole", "filled"):
            domain.detachDeviceFlags(scene.volume_xml(1, "vdd"), _CONFIG)
        if self.history == "filled":  # More devices than before, names out of order.
            for number, target in ((4, "vdf"), (5, "vdd")):
                domain.attachDeviceFlags(scene.volume_xml(number, target), _CONFIG)
            domain.attachDeviceFlags(scene.nic_xml(2), _CONFIG)
        return domain


@dataclass(frozen=True)
class Result:
    """The outcome of one rescue device on one server.

    A refused rescue has a message. The complaints say what is wrong with a derived
    rescue, or with the original definition afterwards.
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
    for history, usb, scsi in itertools.product(HISTORIES, USB, SCSI_UNITS):
        yield Original(machine, firmware, history, usb, scsi)


def run(machine: str, firmware: str) -> list[Result]:
    """Return the results of every rescue device on every server."""
    results = []
    for original in originals(machine, firmware):
        results += run_pairs(original, PAIRS)
    return results


def run_pairs(original: Original, pairs: tuple[tuple[str, str], ...]) -> list[Result]:
    """Return the results of rescue devices on one server.

    :raises libvirt.libvirtError: libvirt rejects the server
    """
    domain = original.define()
    try:
        judge = Judge(base.definition(domain))
        # Most devices are the same in all cases; reading one is half of a comparison.
        with mock.patch.object(compare, "device_of", _device_of):
            return [
                Result(original, device, bus, *judge.case(domain, device, bus))
                for device, bus in pairs
            ]
    finally:
        undefine(domain)


def undefine(domain: libvirt.virDomain) -> None:
    """Undefine a domain that was never started."""
    domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_KEEP_NVRAM)


class Judge:
    """Judges the rescues of one server by the definitions that libvirt returns."""

    def __init__(self, original_xml: str, command_line: bool = True) -> None:
        """Keep what the server's rescues are compared with.

        :param command_line: also compare QEMU's command lines
        """
        self.original_xml = original_xml
        self.original_devices = (
            qemu_argv.devices(original_xml)[0] if command_line else None
        )
        self._with_nics = True

    def case(
        self, domain: libvirt.virDomain, device: str, bus: str
    ) -> tuple[str, tuple[str, ...]]:
        """Return the refusal's message, or an empty text, and the complaints."""
        try:
            derived = base.derive(self.original_xml, device, bus, _MEDIUM)
        except Refused as refusal:
            return str(refusal), tuple(self._original_complaints(domain))
        try:
            rescued = base.connection().defineXML(derived.rescue.to_xml())
        except libvirt.libvirtError as error:
            return "", (f"libvirt rejects the rescue definition: {error}",)
        complaints = list(self._rescue_complaints(derived, base.definition(rescued)))
        base.connection().defineXML(self.original_xml)
        return "", (*complaints, *self._original_complaints(domain))

    def _original_complaints(self, domain: libvirt.virDomain) -> Iterator[str]:
        if base.definition(domain) != self.original_xml:
            yield "the original definition has changed"

    def _rescue_complaints(
        self, derived: plan.RescuePlan, defined: str
    ) -> Iterator[str]:
        """Yield what is wrong with the rescue definition that libvirt returns."""
        # libvirt would read the schema again for each definition that it validates.
        if not _schema().validate(derived.rescue.root):
            yield f"the schema rejects the rescue definition: {_schema().error_log}"
        rescue = Domain.parse(defined)
        kept = compare.compare(Domain.parse(derived.rescue.to_xml()), rescue)
        if kept.disturbed or kept.changed or kept.appeared or kept.rest:
            yield f"libvirt changed the rescue definition: {kept}"
        comparison = compare.compare(Domain.parse(self.original_xml), rescue)
        yield from self._device_complaints(comparison)
        changed = [path for path in comparison.rest if not _MAY_DIFFER.fullmatch(path)]
        if changed:
            yield f"changed outside the devices: {changed}"
        yield from _order_complaints(rescue)
        if self.original_devices is not None:
            yield from self._command_line_complaints(rescue, self.original_devices)

    @staticmethod
    def _device_complaints(comparison: compare.Comparison) -> Iterator[str]:
        if comparison.disturbed:
            yield f"disturbed: {comparison}"
        for change in comparison.changed:
            if set(change.changed) - {"boot", "boot@order"}:
                yield f"changed: {change.device} {change.changed}"
        kinds = [device.kind for device in comparison.appeared]
        if kinds.count("disk") != 1 or set(kinds) - {"disk", "controller"}:
            yield f"appeared: {[str(device) for device in comparison.appeared]}"

    def _command_line_complaints(
        self, rescue: Domain, original_devices: dict[str, dict[str, Any]]
    ) -> Iterator[str]:
        """Yield each original device whose arguments to QEMU have changed.

        Most of the time of a conversion goes into a tap device for each NIC. NICs are
        compared in the definitions of each rescue, and libvirt gives them other
        addresses when it converts them, so only the first rescue of a server is
        converted with its NICs.
        """
        if not self._with_nics:
            rescue = _without_nics(rescue)
        devices, boot_orders = qemu_argv.devices(rescue.to_xml())
        for name, arguments in original_devices.items():
            if devices.get(name) != arguments:
                yield f"QEMU's device {name}: {devices.get(name)}, not {arguments}"
        if boot_orders not in ([(RESCUE_ALIAS, 1)], [("isa-fdc", 1)]):
            yield f"QEMU's boot orders: {boot_orders}"
        if self._with_nics:
            self._with_nics = False
            original = _without_nics(Domain.parse(self.original_xml))
            self.original_devices = qemu_argv.devices(original.to_xml())[0]


def _without_nics(definition: Domain) -> Domain:
    """Return a definition without the NICs that boot nothing."""
    reduced = definition.copy()
    for nic in reduced.root.findall("devices/interface"):
        if nic.find("boot") is None:
            reduced.devices.remove(nic)
    return Domain.parse(reduced.to_xml())


@functools.cache
def _schema() -> etree.RelaxNG:
    return etree.RelaxNG(etree.parse(hypervisor.path_of(_SCHEMA)))


_read_device = compare.device_of


def _device_of(element: etree._Element) -> compare.Device:
    return _device_of_text(etree.tostring(element, with_tail=False))


@functools.cache
def _device_of_text(text: bytes) -> compare.Device:
    return _read_device(etree.fromstring(text))


# A position in the order in which a guest finds devices.
_Position = tuple[int, ...]


def _order_complaints(definition: Domain) -> Iterator[str]:
    """Yield each disk that a guest does not find before the rescue disk on its bus."""
    (alias,) = definition.root.iterfind(f"devices/disk/alias[@name='{RESCUE_ALIAS}']")
    rescue = alias.getparent()
    last = _position(definition, rescue)
    for disk in definition.disks(rescue.find("target").get("bus")):
        position = _position(definition, disk)
        if disk is not rescue and position >= last:
            name = disk.find("target").get("dev")
            yield f"{name} at {position} is not below {last}"


def _position(definition: Domain, device: etree._Element) -> _Position:
    address = device.find("address")
    if address is None:
        return ()
    number = {
        key: int(text, 0)
        for key, text in address.items()
        if key not in ("type", "port", "multifunction")
    }
    if address.get("type") == "pci":
        on_bus = (0, number["slot"], number["function"])
        if not number["bus"]:
            return on_bus
        # Linux adds what is behind a bus's bridges last (drivers/pci/bus.c).
        *above, _device, slot, function = _controller(definition, "pci", number["bus"])
        return (*above, 1, slot, function, *on_bus)
    if address.get("type") == "usb":
        ports = (int(part) for part in address.get("port").split("."))
        return (*_controller(definition, "usb", number["bus"]), *ports)
    kind = device.find("target").get("bus")
    on_controller = (number["bus"], number["target"], number["unit"])
    return (*_controller(definition, kind, number["controller"]), *on_controller)


def _controller(definition: Domain, kind: str, index: int) -> _Position:
    for controller in definition.controllers(kind):
        if controller.get("index") == str(index):
            return _position(definition, controller)
    raise AssertionError(f"the definition has no {kind} controller {index}")


def _append(definition: Domain, xml: str) -> None:
    definition.append_device(etree.fromstring(xml))


def _scsi_disk(number: int, unit: int) -> str:
    name = "sd" + ("aa" if number == 26 else chr(ord("a") + number))
    return (
        "<disk type='file' device='disk'><driver name='qemu' type='raw'/>"
        f"<source file='/nonexistent/scsi-{unit}'/><target dev='{name}' bus='scsi'/>"
        f"<address type='drive' controller='0' bus='0' target='0' unit='{unit}'/>"
        "</disk>"
    )


def _enable_secure_boot(definition: Domain) -> None:
    """Enable secure boot as Nova does, with the firmware that has enrolled keys."""
    firmware = "/usr/share/OVMF/OVMF_{}_4M.ms.fd"
    loader = definition.root.find("os/loader")
    loader.set("secure", "yes")
    loader.text = firmware.format("CODE")
    definition.root.find("os/nvram").set("template", firmware.format("VARS"))
    etree.SubElement(definition.root.find("features"), "smm", state="on")


def fill(domain: libvirt.virDomain) -> libvirt.virDomain:
    """Add disks until no PCI slot (pc) or root port (q35) is free."""
    definition = Domain.parse(base.definition(domain)).copy()
    addresses = definition.root.iterfind("devices/*/address[@type='pci']")
    used = {(int(a.get("bus"), 16), int(a.get("slot"), 16)) for a in addresses}
    ports = definition.root.findall("devices/controller[@model='pcie-root-port']")
    slots = [(int(port.get("index")), 0) for port in ports]
    if not ports:
        slots = [(0, slot) for slot in range(1, 32)]
    names = (f"vd{a}{b}" for a in "ab" for b in "abcdefghijklmnopqrstuvwxyz")
    for (bus, slot), name in zip(sorted(set(slots) - used), names, strict=False):
        _append(
            definition,
            "<disk type='file' device='disk'><driver name='qemu' type='raw'/>"
            f"<source file='/nonexistent/{name}'/><target dev='{name}' bus='virtio'/>"
            f"<address type='pci' bus='{bus:#04x}' slot='{slot:#04x}'/></disk>",
        )
    return base.define(definition.to_xml())
