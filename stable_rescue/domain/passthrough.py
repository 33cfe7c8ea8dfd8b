# SPDX-License-Identifier: Apache-2.0
"""Devices that a definition passes to QEMU directly, unknown to libvirt.

They come from <qemu:commandline> and <qemu:override>. A device with an address occupies
a place that looks free to libvirt. A device without one gets the first slot of the root
bus whose function 0 is free, when QEMU starts. QEMU first creates the devices that are
not given as JSON, while the bus is still empty. The devices given as JSON, which
include all of libvirt's, follow in the order of the command line (QEMU, softmmu/vl.c,
qemu_create_cli_devices; seen with 7.2).
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from stable_rescue import exception
from stable_rescue.domain.address import Pci
from stable_rescue.domain.document import Domain

_NAMESPACE = {"qemu": "http://libvirt.org/schemas/domain/qemu/1.0"}
_ROOT_BUSES = ("", "pci", "pcie", "pci.0", "pcie.0")
# The prefixes of the drivers that sit on no PCI bus (QEMU, "-device help").
_NOT_ON_PCI = (
    *("usb-", "scsi-", "ide-", "hda-", "isa-", "virt", "floppy", "loader", "tpm-"),
    *("i2c-", "smbus-", "ccid-", "pc-dimm", "nvdimm", "generic-", "guest-loader"),
)
_ON_PCI = ("virtio-", "virtio_")
_SLOTS = range(0x20)


def arguments(domain: Domain) -> list[str]:
    """Return the arguments that are passed to QEMU, in order."""
    elements = domain.root.iterfind("qemu:commandline/qemu:arg", _NAMESPACE)
    return [argument.get("value", "") for argument in elements]


def check(domain: Domain) -> None:
    """Check that nothing passed to QEMU decides what boots.

    QEMU does not start if a boot order is used twice. With a second boot order, the
    original system would boot if the rescue medium does not (F3).

    :raises Refused: if an argument or an override decides what boots
    """
    properties = domain.root.iterfind(
        "qemu:override/qemu:device/qemu:frontend/qemu:property", _NAMESPACE
    )
    overridden = [element.get("name", "") for element in properties]
    for word in (*arguments(domain), *overridden):
        if "bootindex" in word or word in ("-kernel", "--kernel"):
            raise exception.Refused(
                f"the server's definition passes {word!r} to QEMU directly; it decides "
                "what boots, and a rescue cannot override it"
            )


def places(domain: Domain, occupied: set[int], chipset: set[int]) -> Iterator[Pci]:
    """Yield the PCI addresses of the devices that are passed to QEMU.

    :param occupied: the slots of the root bus that libvirt has assigned
    :param chipset: the slots of the root bus that belong to the machine's chipset
    """
    devices = list(_devices(domain))
    fixed = [place for device in devices if (place := device.place())]
    yield from fixed
    taken = chipset | {p.slot for p in fixed if not p.bus and not p.function}
    early = [device for device in devices if device.unplaced and not device.is_json]
    late = [device for device in devices if device.unplaced and device.is_json]
    for group, others in ((early, set[int]()), (late, occupied)):
        taken |= others
        for slot in [s for s in _SLOTS if s not in taken][: len(group)]:
            taken.add(slot)
            yield Pci(0, 0, slot)


def unplaced(domain: Domain) -> list[str]:
    """Return the drivers of the devices that QEMU gives a slot of the root bus."""
    return [device.driver for device in _devices(domain) if device.unplaced]


@dataclass(frozen=True)
class _Device:
    driver: str
    bus: str
    address: str
    is_json: bool

    @property
    def unplaced(self) -> bool:
        """Return True if QEMU gives the device a slot of the root bus."""
        on_pci = self.driver.startswith(_ON_PCI)
        return (
            not self.address
            and self.bus in _ROOT_BUSES
            and (on_pci or not self.driver.startswith(_NOT_ON_PCI))
        )

    def place(self) -> Pci | None:
        """Return the PCI address in the device's arguments, or None."""
        bus = _bus_number(self.bus)
        slot, _, function = self.address.partition(".")
        try:
            return bus if bus is None else Pci(0, bus, int(slot, 16), _hex(function))
        except ValueError:
            return None  # no address, or one that QEMU rejects


def _hex(text: str) -> int:
    return int(text, 16) if text else 0


def _bus_number(name: str) -> int | None:
    """Return the number of a PCI bus by its name; libvirt's names end in the index."""
    if name in _ROOT_BUSES:
        return 0
    kind, _, index = name.partition(".")
    return int(index) if kind in ("pci", "pcie") and index.isdecimal() else None


def _devices(domain: Domain) -> Iterator[_Device]:
    """Yield each -device; its value is JSON or a list of keys and values."""
    for option, value in pairwise(arguments(domain)):
        if option not in ("-device", "--device"):
            continue
        is_json = value.startswith("{")
        keys = _parse_json(value) if is_json else _parse_keys(value)
        if keys.get("driver"):
            yield _Device(
                keys["driver"], keys.get("bus", ""), keys.get("addr", ""), is_json
            )


def _parse_keys(value: str) -> dict[str, str]:
    first, *rest = value.split(",")
    keys = {key: text for key, _, text in (part.partition("=") for part in rest)}
    return {"driver": first.removeprefix("driver="), **keys}


def _parse_json(value: str) -> dict[str, str]:
    try:
        return {str(key): str(text) for key, text in json.loads(value).items()}
    except ValueError:
        return {}  # QEMU does not start with this argument, in a rescue or not
