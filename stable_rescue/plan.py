# SPDX-License-Identifier: Apache-2.0
"""RescuePlan: all that a rescue does to a definition, decided before it is done."""

from dataclasses import dataclass

from stable_rescue import exception
from stable_rescue.domain import edits, invariants, machine, nvram, recognise
from stable_rescue.domain.document import Domain
from stable_rescue.domain.edits import Edit
from stable_rescue.domain.medium import Medium
from stable_rescue.domain.nvram import NvramCopy


@dataclass(frozen=True)
class RescueRequest:
    """What the rescue image asks for; an empty bus is the server's own default."""

    device: str = "disk"
    bus: str = ""


@dataclass(frozen=True)
class RescuePlan:
    """A decided rescue.

    ``before`` is the definition as it was read, to the letter; ``after`` the rescue
    definition; ``edits`` is what lies between them.
    """

    device: str
    bus: str
    before: str
    after: str
    edits: tuple[Edit, ...]


def resolve(definition: str, request: RescueRequest) -> RescueRequest:
    """Return the request with its bus decided, checked against the machine.

    :raises Refused: where the server's machine cannot carry it
    :raises InvalidDomain: where the definition cannot be read
    """
    domain = Domain.parse(definition)
    bus = request.bus or machine.default_bus(domain, request.device)
    machine.check(domain, request.device, bus)
    return RescueRequest(request.device, bus)


def derive(
    definition: str,
    request: RescueRequest,
    medium: Medium,
    nvram_copy: NvramCopy | None = None,
) -> RescuePlan:
    """Return the plan that rescues the server of this definition.

    The same input gives the same plan, to the byte.

    :param nvram_copy: where the rescue's own UEFI variables go; beside the server's
        own if not given
    :raises Refused: where it cannot be done, with a reason for the server's owner
    :raises InvalidDomain: where the definition or the medium cannot be read
    :raises InvariantBroken: where the result is not what it must be (our fault)
    """
    decided = resolve(definition, request)
    before = Domain.parse(definition)
    if recognise.is_rescue(before):
        raise exception.Refused("the definition is itself a rescue definition")
    original_nvram = nvram.original_of(before)
    if original_nvram is None:
        nvram_copy = None
    elif nvram_copy is None:
        nvram_copy = NvramCopy(f"{original_nvram}.rescue")
    after = before.copy()
    done = edits.strip_boot(after)
    done += edits.protect_nvram(after, nvram_copy)
    done += edits.add_rescue_disk(after, medium, decided.device, decided.bus)
    invariants.check(before, after)
    return RescuePlan(
        decided.device, decided.bus, definition, after.to_xml(), tuple(done)
    )
