# SPDX-License-Identifier: Apache-2.0
"""What a definition hands to QEMU past libvirt (<qemu:commandline>, <qemu:override>).

libvirt knows none of these devices. Those with an address of their own take a place
that looks free. Those without get one from QEMU at start: the first slot of the root
bus whose function 0 is free. What is written as JSON, as all of libvirt's own devices
are, QEMU makes in its order; what is not, before that, when the bus is still empty
(QEMU, softmmu/vl.c, qemu_create_cli_devices; seen with 7.2).
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
# QEMU, "-device help": what these begin with sits on no PCI bus.
_NOT_ON_PCI = (
    *("usb-", "scsi-", "ide-", "hda-", "isa-", "virt", "floppy", "loader", "tpm-"),
    *("i2c-", "smbus-", "ccid-", "pc-dimm", "nvdimm", "generic-", "guest-loader"),
)
_ON_PCI = ("virtio-", "virtio_")
_SLOTS = range(0x20)


def arguments(domain: Domain) -> list[str]:
    """Return the arguments that are handed to QEMU, in their order."""
    found = domain.root.iterfind("qemu:commandline/qemu:arg", _NAMESPACE)
    return [argument.get("value", "") for argument in found]


def check(domain: Domain) -> None:
    """Check that nothing of it decides what boots.

    QEMU does not start with one boot order twice, and a second one would boot the
    server where the rescue medium does not boot (LIBVIRT F3).

    :raises Refused: where something does
    """
    given = arguments(domain)
    properties = domain.root.iterfind(
        "qemu:override/qemu:device/qemu:frontend/qemu:property", _NAMESPACE
    )
    overridden = [one.get("name", "") for one in properties]
    for word in (*given, *overridden):
        if "bootindex" in word or word in ("-kernel", "--kernel"):
            raise exception.Refused(
                f"the server's definition hands {word!r} to QEMU directly; it "
                "decides what boots, and cannot be put aside for the rescue"
            )


def places(domain: Domain, occupied: set[int], chipset: set[int]) -> Iterator[Pci]:
    """Yield the PCI addresses of these devices.

    :param occupied: the slots of the root bus that libvirt has given
    :param chipset: those that are the machine's own
    """
    given = list(_devices(domain))
    fixed = [place for device in given if (place := device.place())]
    yield from fixed
    own = {place.slot for place in fixed if not place.bus and not place.function}
    early = [device for device in given if device.unplaced and not device.is_json]
    late = [device for device in given if device.unplaced and device.is_json]
    taken = chipset | own
    for group, others in ((early, set[int]()), (late, occupied)):
        taken |= others
        for slot in [s for s in _SLOTS if s not in taken][: len(group)]:
            taken.add(slot)
            yield Pci(0, 0, slot)


def unplaced(domain: Domain) -> list[str]:
    """Return the drivers of the devices to which QEMU gives a slot of the root bus."""
    return [device.driver for device in _devices(domain) if device.unplaced]


@dataclass(frozen=True)
class _Device:
    driver: str
    bus: str
    address: str
    is_json: bool

    @property
    def unplaced(self) -> bool:
        """Whether QEMU gives it a slot of the root bus."""
        on_pci = self.driver.startswith(_ON_PCI)
        return (
            not self.address
            and self.bus in _ROOT_BUSES
            and (on_pci or not self.driver.startswith(_NOT_ON_PCI))
        )

    def place(self) -> Pci | None:
        """Return the PCI address that it gives itself, if any."""
        bus = _bus_number(self.bus)
        slot, _, function = self.address.partition(".")
        try:
            return bus if bus is None else Pci(0, bus, int(slot, 16), _hex(function))
        except ValueError:
            return None  # none, or one with which QEMU does not start


def _hex(text: str) -> int:
    return int(text, 16) if text else 0


def _bus_number(name: str) -> int | None:
    """Return the number of a PCI bus by its name, which libvirt makes of its index."""
    if name in _ROOT_BUSES:
        return 0
    kind, _, index = name.partition(".")
    return int(index) if kind in ("pci", "pcie") and index.isdecimal() else None


def _devices(domain: Domain) -> Iterator[_Device]:
    """Yield each -device, which has one of two forms."""
    for option, value in pairwise(arguments(domain)):
        if option not in ("-device", "--device"):
            continue
        is_json = value.startswith("{")
        told = _json(value) if is_json else _keyed(value)
        if told.get("driver"):
            yield _Device(
                told["driver"], told.get("bus", ""), told.get("addr", ""), is_json
            )


def _keyed(value: str) -> dict[str, str]:
    first, *rest = value.split(",")
    told = {key: text for key, _, text in (part.partition("=") for part in rest)}
    return {"driver": first.removeprefix("driver="), **told}


def _json(value: str) -> dict[str, str]:
    try:
        return {str(key): str(text) for key, text in json.loads(value).items()}
    except ValueError:
        return {}  # QEMU does not start with it, with us or without
