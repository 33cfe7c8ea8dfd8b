# SPDX-License-Identifier: Apache-2.0
"""RescuePlan: all that a rescue does to a definition, decided before it is done."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from stable_rescue import exception
from stable_rescue.domain import (
    edits,
    invariants,
    machine,
    mapping,
    names,
    nvram,
    passthrough,
    recognise,
    sources,
)
from stable_rescue.domain.document import Domain
from stable_rescue.domain.edits import Edit, Kernel
from stable_rescue.domain.mapping import BlockDevices
from stable_rescue.domain.medium import Medium
from stable_rescue.domain.nvram import NvramCopy


@dataclass(frozen=True)
class RescueRequest:
    """What the rescue image asks for, and what the operator allows.

    An empty bus is the server's own default. The fallback buses are tried in their
    order where the first has no room; gaps allows a place before other devices,
    which renames them in the guest; mismatch allows disks that differ from the block
    device mapping.
    """

    device: str = "disk"
    bus: str = ""
    fallback_buses: tuple[str, ...] = ()
    gaps: bool = False
    mismatch: bool = False


@dataclass(frozen=True)
class RescuePlan:
    """A decided rescue.

    ``before`` is the definition as it was read, to the letter but for volumes whose
    source is another now (edit 4); ``after`` is the rescue definition; ``edits`` is
    what lies between what was read and that; ``findings`` what its owner or the
    operator should know.
    """

    device: str
    bus: str
    before: str
    after: str
    edits: tuple[Edit, ...]
    findings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as plain values, for output."""
        return dataclasses.asdict(self)


def resolve(definition: str, request: RescueRequest) -> RescueRequest:
    """Return the request with its bus decided, checked against the machine.

    :raises Refused: where the server's machine cannot carry it
    :raises InvalidDomain: where the definition cannot be read
    """
    return _decide(Domain.parse(definition), request)


def _decide(domain: Domain, request: RescueRequest) -> RescueRequest:
    machine.family_of(domain)  # before all else: is the machine supported?
    bus = request.bus or machine.default_bus(domain, request.device)
    machine.check(domain, request.device, bus)
    return dataclasses.replace(request, bus=bus)


def derive(
    definition: str,
    request: RescueRequest,
    medium: Medium,
    nvram_copy: NvramCopy | None = None,
    kernel: Kernel | None = None,
    new_config_drive: bool = False,
    expected: BlockDevices | None = None,
    volumes: Mapping[str, str] | None = None,
    config_drive: Medium | None = None,
) -> RescuePlan:
    """Return the plan that rescues the server of this definition.

    The same input gives the same plan, to the byte.

    :param nvram_copy: where the rescue's own UEFI variables go; beside the server's
        own if not given
    :param kernel: the kernel that the rescue image brings along
    :param new_config_drive: a config drive is made anew for the rescue
    :param expected: the disks that the server has by Nova's database; not compared if
        not given
    :param volumes: by target name, the <disk> that Nova would write for a volume now
    :param config_drive: the new one, to be added where the server has none
    :raises Refused: where it cannot be done, with a reason for the server's owner
    :raises InvalidDomain: where the definition or the medium cannot be read
    :raises InvariantBroken: where the result is not what it must be (our fault)
    """
    before = Domain.parse(definition)
    decided = _decide(before, request)
    if recognise.is_rescue(before):
        raise exception.Refused("the definition is itself a rescue definition")
    passthrough.check(before)
    mismatches = mapping.differences(before, expected) if expected else ()
    if mismatches and not request.mismatch:
        raise exception.Refused("; ".join(mismatches))
    done = sources.refresh(before, volumes or {})
    if done:
        # What the server comes back to, too: its old source is no more.
        definition = before.to_xml()
    after = before.copy()
    done += edits.strip_boot(after)
    done += edits.boot_kernel(after, kernel)
    done += edits.protect_nvram(after, _nvram_copy(before, nvram_copy))
    if new_config_drive:
        done += edits.swap_config_drive(after)
    if recognise.has_config_drive(before):
        config_drive = None
    bus, after, added = _add_disks(after, decided, medium, config_drive)
    _check(before, after)
    return RescuePlan(
        decided.device,
        bus,
        definition,
        after.to_xml(),
        (*done, *added),
        (*mismatches, *_findings(after, decided, bus, added)),
    )


def _check(before: Domain, after: Domain) -> None:
    """Check the result; a fault that was there before is not ours."""
    try:
        invariants.check(before, after)
    except exception.InvariantBroken:
        try:
            invariants.check_unique(before)
        except exception.InvariantBroken as exc:
            raise exception.Refused(f"the server's definition is wrong: {exc}") from exc
        raise


def _nvram_copy(domain: Domain, wanted: NvramCopy | None) -> NvramCopy | None:
    original = nvram.original_of(domain)
    if original is None:
        return None
    return wanted or NvramCopy(f"{original}.rescue")


def _add_disks(
    domain: Domain, request: RescueRequest, medium: Medium, drive: Medium | None
) -> tuple[str, Domain, list[Edit]]:
    """Add the rescue disk on the first bus that has room; return it and the result.

    A config drive goes before it, on the first bus that leaves it its room.
    """
    allowed = machine.buses_for(domain, request.device)
    fallback = [b for b in request.fallback_buses if b in allowed and b != request.bus]
    first: exception.NoRoom | None = None
    for bus, drives in product((request.bus, *fallback), _buses_of(domain, drive)):
        tried = domain.copy()
        try:
            done = []
            if drive is not None:
                done += edits.add_config_drive(tried, drive, drives, request.gaps)
            done += edits.add_rescue_disk(
                tried, medium, request.device, bus, request.gaps
            )
        except exception.NoRoom as exc:
            first = first or exc
        else:
            return bus, tried, done
    assert first is not None  # the loop has run at least once
    raise first


def _buses_of(domain: Domain, drive: Medium | None) -> tuple[str, ...]:
    """Return the buses that a config drive may go on; one of no name without it."""
    if drive is None:
        return ("",)
    return machine.buses_for(domain, drive.element().get("device", "disk"))


def _findings(
    domain: Domain, request: RescueRequest, bus: str, added: list[Edit]
) -> tuple[str, ...]:
    """Return what to know of a plan, by its rescue definition."""
    found = [edit.what for edit in added if edit.name == "gap"]
    if bus != request.bus:
        found.append(f"bus {request.bus} has no room; {bus} is taken in its place")
    found += [
        f"QEMU itself places {driver}, which the server's definition hands to it "
        "directly; the rescue leaves the slot free that QEMU takes at a cold boot"
        for driver in passthrough.unplaced(domain)
    ]
    overtaken = names.overtaken(domain)
    if overtaken:
        found.append(
            f"the rescue disk comes before {', '.join(overtaken)}, which may have "
            "other names in the guest; their addresses do not change"
        )
    if machine.is_secure(domain):
        # LIBVIRT F6
        found.append(
            "the server has UEFI secure boot: a rescue image that is not signed does "
            "not boot, and nothing after it does"
        )
    return tuple(found)
