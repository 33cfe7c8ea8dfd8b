# SPDX-License-Identifier: Apache-2.0
"""stable-rescue show: all that this host knows about the rescue of one server."""

import argparse
import contextlib
import datetime
from collections.abc import Iterator, Sequence
from typing import Any

from stable_rescue.cmd import formats, listing, reading, rescues, table
from stable_rescue.cmd.exits import Output
from stable_rescue.cmd.reading import Rescue
from stable_rescue.domain import compare
from stable_rescue.domain.document import Domain
from stable_rescue.storage import leftovers
from stable_rescue.storage.record import State
from stable_rescue.storage.store import Store

_FACTS = (
    *("server", "domain", "kind", "state", "since", "overdue", "running", "device"),
    *("image", "image_checksum", "medium_bytes", "was_running", "launched_at"),
)
_STEPS = ("step", "began", "seconds")
_FILES = ("file", "size_bytes", "changed")
_DEVICES = ("change", "device", "target", "address", "source")


def run(options: argparse.Namespace, connection: Any) -> Output:
    """Return what this host knows about the rescue of a server.

    Errors of libvirt propagate.

    :raises CommandError: if the server is not in a rescue on this host
    :raises OSError: if a file cannot be read
    """
    rescue = rescues.of_server(connection, options.server)
    facts = _facts(rescue)
    steps, files = list(_steps(rescue)), list(_files(rescue))
    plan, devices = _plan(rescue), list(_devices(rescue))
    if options.format != "table":
        content = {
            **facts,
            "steps": steps,
            "files": files,
            "plan": plan,
            "devices": devices,
        }
        return Output(formats.of_content(options.format, content))
    lines = [
        *_facts_table(facts),
        *_section("Steps", _STEPS, steps),
        *_section("Files", _FILES, files),
        *("", "Plan: the rescue definition compared with the original"),
        *(f"  {table.printable(line)}" for line in plan),
        *_section("Devices that libvirt has now", _DEVICES, devices),
    ]
    return Output("\n".join(lines) + "\n")


def _facts(rescue: Rescue) -> formats.Row:
    record = rescue.record
    return {
        **listing.row_of(rescue),
        "image_checksum": record.image_checksum if record else None,
        "was_running": record.was_running if record else None,
        "launched_at": formats.time_of(record.launched_at) if record else None,
    }


def _facts_table(facts: formats.Row) -> list[str]:
    names = {key: formats.title_of(key) for key in _FACTS}
    width = max(map(len, names.values())) + 2
    return [
        name.ljust(width) + table.printable(formats.text_of(key, facts[key]))
        for key, name in names.items()
    ]


def _section(title: str, columns: Sequence[str], rows: list[formats.Row]) -> list[str]:
    lines = formats.of_rows("table", title, columns, rows).splitlines()
    return ["", title, *(f"  {line}" for line in lines)]


def _steps(rescue: Rescue) -> Iterator[formats.Row]:
    """Yield the steps whose times are in files; the last one goes on.

    unrescue.xml is written just before the guest is shut down. If a snapshot moved the
    guest to other files since, the time is lost.
    """
    saved = _store(rescue).original_saved_at()
    booted = rescue.record.rescued_at if rescue.record else None
    if booted and saved and saved < booted:
        seconds = round((booted - saved).total_seconds(), 2)
        yield _step("shutdown and boot", saved, seconds)
    if booted:
        yield _step("in rescue", booted, None)
    state = rescue.record.state.value if rescue.record else rescue.state
    if state != State.RESCUED:
        yield _step(state, rescue.since, None)


def _step(
    name: str, began: datetime.datetime | None, seconds: float | None
) -> formats.Row:
    return {"step": name, "began": formats.time_of(began), "seconds": seconds}


def _files(rescue: Rescue) -> Iterator[formats.Row]:
    """Yield the files of a rescue that are in the instance's directory."""
    for path in leftovers.files_in(reading.directory_of(rescue.uuid)):
        with contextlib.suppress(FileNotFoundError):
            status = path.stat()
            changed = datetime.datetime.fromtimestamp(status.st_mtime, datetime.UTC)
            yield {
                "file": path.name,
                "size_bytes": status.st_size,
                "changed": formats.time_of(changed),
            }


def _plan(rescue: Rescue) -> list[str]:
    """Return how the recorded definitions differ; empty without a record."""
    if rescue.record is None:
        return []
    original = Domain.parse(rescue.record.original_xml)
    planned = Domain.parse(rescue.record.rescue_xml)
    return str(compare.compare(original, planned)).splitlines()


def _devices(rescue: Rescue) -> Iterator[formats.Row]:
    """Yield the devices of the guest, and how they differ from the original ones."""
    original = reading.original_of(rescue) or rescue.definition
    comparison = compare.compare(original, rescue.definition)
    for change in sorted(comparison.changes, key=_rank):
        device = change.after or change.device
        yield {
            "change": _change(change),
            "device": table.title_of(device),
            "target": device.target,
            "address": device.address,
            "source": device.source,
        }


def _rank(change: compare.Change) -> tuple[bool, int]:
    return change.appeared, 0 if change.appeared else table.rank_of(change.device)


def _change(change: compare.Change) -> str:
    if change.appeared:
        return "added"
    if change.vanished:
        return "missing"
    return "moved" if change.disturbed else ""


def _store(rescue: Rescue) -> Store:
    return Store(str(reading.directory_of(rescue.uuid)))
