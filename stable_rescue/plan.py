# SPDX-License-Identifier: Apache-2.0
"""RescuePlan: everything that a rescue does to a definition, decided in advance."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from stable_rescue import exception
from stable_rescue.domain import (
    compare,
    edits,
    invariants,
    machine,
    mapping,
    memory,
    names,
    nvram,
    overlays,
    passthrough,
    pci,
    quarantine,
    recognize,
    sources,
)
from stable_rescue.domain.document import Domain
from stable_rescue.domain.edits import Edit, Kernel
from stable_rescue.domain.mapping import BlockDevices
from stable_rescue.domain.medium import Medium
from stable_rescue.domain.nvram import NvramCopy
from stable_rescue.domain.overlays import Overlays


@dataclass(frozen=True)
class RescueRequest:
    """What the rescue image asks for, and what the operator allows.

    Without a bus, the server's default is used. The fallback buses are tried in order
    if that bus has no room. ``gaps`` allows an address before other devices, which
    renames them in the guest; ``mismatch`` allows disks that differ from the block
    device mapping. ``quarantine`` sets the links of the server's NICs down. ``discard``
    keeps what the rescue system writes away from the server's disks. ``dump`` keeps the
    memory of the server's own system.
    """

    device: str = "disk"
    bus: str | None = None
    fallback_buses: tuple[str, ...] = ()
    gaps: bool = False
    mismatch: bool = False
    quarantine: bool = False
    discard: bool = False
    dump: bool = False


@dataclass(frozen=True)
class RescueMedia:
    """Everything that is made on the compute host for a rescue.

    ``nvram_copy`` is the place of the private UEFI variables; without it they are next
    to the original ones. ``kernel`` is the rescue image's own kernel. ``config_drive``
    is added to a server that has none. With ``replaces_config_drive``, an existing
    config drive reads the regenerated one. A request with ``discard`` needs
    ``overlays``.
    """

    medium: Medium
    nvram_copy: NvramCopy | None = None
    kernel: Kernel | None = None
    config_drive: Medium | None = None
    replaces_config_drive: bool = False
    overlays: Overlays | None = None


@dataclass(frozen=True)
class ServerDisks:
    """The server's disks according to Nova.

    ``expected`` is the block device mapping; without it the definition is not checked
    against one. ``volumes`` has, by target name, the <disk> that Nova would write for
    a volume now.
    """

    expected: BlockDevices | None = None
    volumes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class RescuePlan:
    """A decided rescue.

    ``original`` is the definition that was read, with the current sources of its
    volumes (E4), and ``rescue`` the rescue definition. ``edits`` are all the changes
    between the definition that was read and ``rescue``. ``findings`` are for the
    server's owner and the operator.
    """

    device: str
    bus: str
    original: Domain
    rescue: Domain
    edits: tuple[Edit, ...]
    findings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as plain values, the definitions as text."""
        return {
            "device": self.device,
            "bus": self.bus,
            "original": self.original.to_xml(),
            "rescue": self.rescue.to_xml(),
            "edits": [dataclasses.asdict(edit) for edit in self.edits],
            "findings": list(self.findings),
        }


def resolve(original: Domain, request: RescueRequest) -> RescueRequest:
    """Return the request with its bus decided, checked against the machine.

    :raises Refused: if the server's machine type does not support the rescue device
    """
    return dataclasses.replace(request, bus=_bus_of(original, request))


def _bus_of(domain: Domain, request: RescueRequest) -> str:
    machine.family_of(domain)  # refuses an unsupported machine type
    bus = request.bus or machine.default_bus(domain, request.device)
    machine.check(domain, request.device, bus)
    return bus


def derive(
    original: Domain,
    request: RescueRequest,
    media: RescueMedia,
    disks: ServerDisks = ServerDisks(),
) -> RescuePlan:
    """Return the plan that rescues the server of this definition.

    The same input gives the same plan, to the byte.

    :raises Refused: if the rescue is not possible, with a reason for the server's owner
    :raises InvalidDomain: if the medium or a volume's <disk> cannot be read
    :raises InvariantBroken: if the result is not what it must be (a bug)
    """
    wanted_bus = _bus_of(original, request)
    if recognize.is_rescue(original):
        raise exception.Refused(
            "the server's definition is already a rescue definition; unrescue or hard "
            "reboot the server first"
        )
    passthrough.check(original)
    if request.dump:
        memory.check(original)
    mismatches: tuple[str, ...] = ()
    if disks.expected:
        mismatches = mapping.differences(original, disks.expected)
    if mismatches and not request.mismatch:
        raise exception.Refused(
            f"{'; '.join(mismatches)}; ask the operator to correct this"
        )
    # Unrescue restores the refreshed definition, because the old sources are gone.
    original, applied = sources.refreshed(original, disks.volumes)
    draft = original.copy()
    applied += edits.strip_boot(draft)
    applied += edits.boot_kernel(draft, media.kernel)
    applied += edits.protect_nvram(draft, _nvram_copy(original, media.nvram_copy))
    if request.quarantine:
        applied += quarantine.unplug_links(draft)
    if media.replaces_config_drive:
        applied += edits.swap_config_drive(draft)
    if request.discard:
        assert media.overlays is not None  # the caller says where they are
        applied += overlays.put_under_disks(draft, media.overlays)
    added_drive = media.config_drive
    if recognize.has_config_drive(original):
        added_drive = None
    bus, rescue, added = _add_disks(
        draft, request, wanted_bus, media.medium, added_drive
    )
    _check(original, rescue)
    return RescuePlan(
        request.device,
        bus,
        original,
        rescue,
        (*applied, *added),
        (
            *mismatches,
            *_findings(rescue, wanted_bus, bus, added),
            *(quarantine.findings(rescue) if request.quarantine else ()),
            *(overlays.findings(rescue) if request.discard else ()),
            *(memory.findings(original) if request.dump else ()),
        ),
    )


def _check(original: Domain, rescue: Domain) -> None:
    """Check the result; if the original breaks an invariant, refuse the rescue."""
    try:
        invariants.check(original, rescue)
    except exception.InvariantBroken:
        try:
            invariants.check_unique(original)
        except exception.InvariantBroken as exc:
            raise exception.Refused(
                f"the server's definition is invalid: {exc}; ask the operator to "
                "correct it"
            ) from exc
        raise


def _nvram_copy(domain: Domain, wanted: NvramCopy | None) -> NvramCopy | None:
    original = nvram.original_of(domain)
    if original is None:
        return None
    return wanted or NvramCopy(f"{original}.rescue")


def _add_disks(
    domain: Domain,
    request: RescueRequest,
    wanted_bus: str,
    medium: Medium,
    drive: Medium | None,
) -> tuple[str, Domain, list[Edit]]:
    """Add the rescue disk on the first bus with room, after the config drive if any.

    The config drive goes on the first bus that still leaves room for the rescue disk.

    :returns: the bus of the rescue disk, the rescue definition, and the edits
    """
    allowed = machine.buses_for(domain, request.device)
    fallback = [b for b in request.fallback_buses if b in allowed and b != wanted_bus]
    drive_buses: tuple[str | None, ...] = (None,)
    if drive is not None:
        drive_buses = machine.buses_for(domain, drive.device)
    first_error: exception.NoRoom | None = None
    for bus, drive_bus in product((wanted_bus, *fallback), drive_buses):
        draft = domain.copy()
        try:
            added = []
            if drive is not None and drive_bus is not None:
                added += edits.add_config_drive(draft, drive, drive_bus, request.gaps)
            added += edits.add_rescue_disk(
                draft, medium, request.device, bus, request.gaps
            )
        except exception.NoRoom as exc:
            first_error = first_error or exc
        else:
            return bus, draft, added
    assert first_error is not None  # the loop has run at least once
    raise first_error


def _findings(
    rescue: Domain, wanted_bus: str, bus: str, added: list[Edit]
) -> tuple[str, ...]:
    """Return what the server's owner or the operator should know about a plan."""
    findings = [edit.what for edit in added if edit.name == "gap"]
    if bus != wanted_bus:
        findings.append(f"bus {wanted_bus} has no room; {bus} is used instead")
    findings += [
        f"QEMU itself places {driver}, which the server's definition passes to it "
        "directly; the rescue leaves the slot free that QEMU uses at a cold boot"
        for driver in passthrough.unplaced(rescue)
    ]
    stray = [
        f"{compare.device_of(device)} at {place}"
        for device, place in pci.without_controller(rescue)
    ]
    if stray:
        findings.append(
            f"{', '.join(stray)}: there is no controller for this PCI bus, and libvirt "
            "may add one; use the output of virsh dumpxml"
        )
    overtaken = names.overtaken(rescue)
    if overtaken:
        findings.append(
            f"the rescue disk comes before {', '.join(overtaken)}, which may have "
            "other names in the guest; their addresses do not change"
        )
    if machine.is_secure(rescue):  # F6
        findings.append(
            "the server has UEFI secure boot: a rescue image that is not signed does "
            "not boot, and no other disk is booted instead"
        )
    return tuple(findings)
