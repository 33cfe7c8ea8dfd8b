# SPDX-License-Identifier: Apache-2.0
"""The verdict on a server, from what the API and the host show before and after."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

#: In the name of each file that a rescue keeps in the instance's folder while it lasts.
_OF_A_RESCUE = "rescue"
#: Files that are being written begin with this, or end with one of these.
_UNFINISHED_BEGIN, _UNFINISHED_ENDS = ".", (".new", ".part", ".tmp")
_DIFFERENCE_CHARACTERS = 600


@dataclass(frozen=True)
class View:
    """One idle server."""

    status: str
    task_state: str | None
    definition: str  # inactive, as libvirt prints it
    running: bool
    rescued: bool  # the live or the inactive definition has a rescue disk
    process: str  # pid of QEMU; "" if it does not run
    files: frozenset[str]  # in the instance's folder
    attachments: frozenset[str]  # as Cinder lists them
    damaged: tuple[str, ...] = ()  # disks that have lost their mark

    def stopped(self) -> View:
        """Return the view of the same server after a user has stopped it."""
        return dataclasses.replace(self, status="SHUTOFF", running=False, process="")


class Outcome(StrEnum):
    """How a rescue or an unrescue ended."""

    RESCUED = "rescued"
    UNTOUCHED = "untouched"  # not rescued, and never powered off
    RESTORED = "restored"  # powered off, and back with its original definition
    UNRESCUED = "unrescued"
    KEPT = "kept"  # the unrescue failed, the server stays rescued
    LOST = "lost"


@dataclass(frozen=True)
class Verdict:
    """The result of a run; without ``faults`` and ``leftovers`` if nothing is wrong."""

    outcome: Outcome
    faults: tuple[str, ...] = ()
    leftovers: tuple[str, ...] = ()


def judge(original: View, before: View, now: View, extra: frozenset[str]) -> Verdict:
    """Judge a run.

    :param original: the server before anything was killed
    :param before: the server before this run
    :param extra: what is new on the host, as ``extra_resources`` returns it
    """
    if now.task_state is not None or now.status not in (original.status, "RESCUE"):
        state = f"status {now.status}, task state {now.task_state}"
        return Verdict(Outcome.LOST, (state, *_faults(original, now)), tuple(extra))
    in_rescue = now.status == "RESCUE"
    faults = tuple(_faults(original, now))
    leftovers = (*_unexpected(original, now, in_rescue), *sorted(extra))
    return Verdict(
        Outcome.LOST if faults else _outcome(before, now, in_rescue), faults, leftovers
    )


def extra_resources(
    before: frozenset[str], now: frozenset[str], rescued: frozenset[str]
) -> frozenset[str]:
    """Return what is new on the host, without what rescues in progress need.

    :param rescued: the ids of the servers that are rescued now
    """
    return frozenset(
        resource
        for resource in now - before
        if not (_OF_A_RESCUE in resource and any(one in resource for one in rescued))
    )


def _outcome(before: View, now: View, in_rescue: bool) -> Outcome:
    if before.status == "RESCUE":
        return Outcome.KEPT if in_rescue else Outcome.UNRESCUED
    if in_rescue:
        return Outcome.RESCUED
    return Outcome.UNTOUCHED if now.process == before.process else Outcome.RESTORED


def _faults(original: View, now: View) -> Iterator[str]:
    """Yield the reasons why a server is lost."""
    if now.status == "RESCUE":
        if not (now.running and now.rescued):
            yield "the status is RESCUE, but the rescue system does not run"
    else:
        if now.rescued:
            yield f"the status is {now.status}, but libvirt has a rescue definition"
        if now.running != original.running:
            yield f"the guest {_runs(now)}, but originally it {_runs(original)}"
        if now.definition != original.definition:
            yield f"the definition has changed: {_difference(original, now)}"
    if now.attachments != original.attachments:
        changed = sorted(now.attachments ^ original.attachments)
        yield f"the attachments have changed: {', '.join(changed)}"
    missing = sorted(original.files - now.files)
    if missing:
        yield f"files are missing: {', '.join(missing)}"
    for disk in now.damaged:
        yield f"the mark on {disk} is missing"


def _runs(view: View) -> str:
    return "runs" if view.running else "is off"


def _unexpected(original: View, now: View, in_rescue: bool) -> Iterator[str]:
    """Yield the files that are neither original nor part of a rescue in progress."""
    for name in sorted(now.files - original.files):
        unfinished = name.startswith(_UNFINISHED_BEGIN) or name.endswith(
            _UNFINISHED_ENDS
        )
        if unfinished or not (in_rescue and _OF_A_RESCUE in name):
            yield f"file {name}"


def _difference(original: View, now: View) -> str:
    lines = difflib.unified_diff(
        original.definition.splitlines(), now.definition.splitlines(), lineterm="", n=0
    )
    changes = (line for line in lines if line[:3] not in ("---", "+++"))
    return "; ".join(changes)[:_DIFFERENCE_CHARACTERS]
