# SPDX-License-Identifier: Apache-2.0
"""RescuePlan: all that a rescue does to a definition, decided before it is done."""

from dataclasses import dataclass

from stable_rescue import exception
from stable_rescue.domain import edits, invariants, machine, recognise
from stable_rescue.domain.document import Domain
from stable_rescue.domain.edits import Edit
from stable_rescue.domain.medium import Medium


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


def derive(definition: str, request: RescueRequest, medium: Medium) -> RescuePlan:
    """Return the plan that rescues the server of this definition.

    The same input gives the same plan, to the byte.

    :raises Refused: where it cannot be done, with a reason for the server's owner
    :raises InvalidDomain: where the definition or the medium cannot be read
    :raises InvariantBroken: where the result is not what it must be (our fault)
    """
    decided = resolve(definition, request)
    before = Domain.parse(definition)
    if recognise.is_rescue(before):
        raise exception.Refused("the definition is itself a rescue definition")
    _refuse_uefi(before)
    after = before.copy()
    done = edits.strip_boot(after)
    done += edits.add_rescue_disk(after, medium, decided.device, decided.bus)
    invariants.check(before, after)
    return RescuePlan(
        decided.device, decided.bus, definition, after.to_xml(), tuple(done)
    )


def _refuse_uefi(domain: Domain) -> None:
    # A rescue on the server's own NVRAM deletes its boot entry (UPSTREAM U31).
    os_element = domain.root.find("os")
    assert os_element is not None  # Domain.parse() has seen os/type
    if os_element.get("firmware") == "efi" or os_element.find("nvram") is not None:
        raise exception.Refused(
            "servers with UEFI firmware are not supported yet: "
            "the rescue would change their boot entries"
        )
