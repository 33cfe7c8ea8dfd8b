# SPDX-License-Identifier: Apache-2.0
"""What became of a server, from what the API and the host show before and after."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

#: Names of what a rescue keeps in the instance's directory as long as it lasts.
_OF_A_RESCUE = "rescue"
#: Beginnings and ends of files that are not whole yet.
_UNFINISHED = (".", ".new", ".part", ".tmp")


@dataclass(frozen=True)
class View:
    """One server at rest."""

    status: str
    task_state: str | None
    definition: str  # inactive, as libvirt prints it
    running: bool
    rescued: bool  # what libvirt runs, or would run, has a rescue disk
    process: str  # of QEMU; "" for none
    files: frozenset[str]  # in its directory
    attachments: frozenset[str]  # as Cinder lists them
    damaged: tuple[str, ...] = ()  # disks whose mark is not what was written

    def stopped(self) -> View:
        """Return what the same server is like when a user has stopped it."""
        return dataclasses.replace(self, status="SHUTOFF", running=False, process="")


class Outcome(StrEnum):
    """How a rescue or an unrescue ended."""

    RESCUED = "rescued"
    UNTOUCHED = "untouched"  # itself, its guest never powered off
    UNDONE = "undone"  # itself again
    UNRESCUED = "unrescued"
    KEPT = "kept"  # still rescued
    LOST = "lost"


@dataclass(frozen=True)
class Verdict:
    """What a run came to; nothing in ``faults`` and ``leftovers`` if all is well."""

    outcome: Outcome
    faults: tuple[str, ...] = ()
    leftovers: tuple[str, ...] = ()


def judge(itself: View, before: View, now: View, extra: frozenset[str]) -> Verdict:
    """Judge a run.

    :param itself: the server as it was made
    :param before: the server as the run found it
    :param extra: things of the host that are there and were not (see ``extra_things``)
    """
    if now.task_state is not None or now.status not in (itself.status, "RESCUE"):
        state = f"status {now.status}, task state {now.task_state}"
        return Verdict(Outcome.LOST, (state, *_faults(itself, now)), tuple(extra))
    in_rescue = now.status == "RESCUE"
    faults = tuple(_faults(itself, now))
    leftovers = (*_unexpected(itself, now, in_rescue), *sorted(extra))
    return Verdict(
        Outcome.LOST if faults else _outcome(before, now, in_rescue), faults, leftovers
    )


def extra_things(
    before: frozenset[str], now: frozenset[str], rescued: frozenset[str]
) -> frozenset[str]:
    """Return the host's things that are new, but for those of a rescue that lasts.

    :param rescued: ids of the servers that are rescued at the moment
    """
    return frozenset(
        thing
        for thing in now - before
        if not (_OF_A_RESCUE in thing and any(one in thing for one in rescued))
    )


def _outcome(before: View, now: View, in_rescue: bool) -> Outcome:
    if before.status == "RESCUE":
        return Outcome.KEPT if in_rescue else Outcome.UNRESCUED
    if in_rescue:
        return Outcome.RESCUED
    return Outcome.UNTOUCHED if now.process == before.process else Outcome.UNDONE


def _faults(itself: View, now: View) -> Iterator[str]:
    """Yield what makes a server one that is lost."""
    if now.status == "RESCUE":
        if not (now.running and now.rescued):
            yield "it is called rescued, and its rescue system does not run"
    else:
        if now.rescued:
            yield f"its status is {now.status}, and it is defined as rescued"
        if now.running != itself.running:
            yield f"it runs: {now.running}; before: {itself.running}"
        if now.definition != itself.definition:
            yield f"its definition has changed: {_difference(itself, now)}"
    if now.attachments != itself.attachments:
        changed = sorted(now.attachments ^ itself.attachments)
        yield f"its attachments have changed: {', '.join(changed)}"
    missing = sorted(itself.files - now.files)
    if missing:
        yield f"files are gone: {', '.join(missing)}"
    for disk in now.damaged:
        yield f"the mark on {disk} is gone"


def _unexpected(itself: View, now: View, in_rescue: bool) -> Iterator[str]:
    for name in sorted(now.files - itself.files):
        unfinished = name.startswith(_UNFINISHED[0]) or name.endswith(_UNFINISHED[1:])
        if unfinished or not (in_rescue and _OF_A_RESCUE in name):
            yield f"file {name}"


def _difference(itself: View, now: View) -> str:
    lines = difflib.unified_diff(
        itself.definition.splitlines(), now.definition.splitlines(), lineterm="", n=0
    )
    return "; ".join(line for line in lines if line[:3] not in ("---", "+++"))[:600]
