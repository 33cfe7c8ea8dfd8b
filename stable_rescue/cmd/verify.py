# SPDX-License-Identifier: Apache-2.0
"""stable-rescue verify: does a rescued server have what the rescue promises?"""

import argparse
import functools
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import libvirt
from lxml import etree
from oslo_utils import uuidutils

from stable_rescue import exception
from stable_rescue.cmd import formats, reading, rescues
from stable_rescue.cmd.exits import NOT_ALL, SUCCESS, Output
from stable_rescue.cmd.reading import Rescue
from stable_rescue.domain import (
    booted,
    compare,
    document,
    layout,
    overlays,
    recognize,
    sources,
)
from stable_rescue.domain.document import Domain
from stable_rescue.storage import deadline
from stable_rescue.storage.record import Record, State
from stable_rescue.storage.store import Store

_COLUMNS = ("check", "result", "details")
OK, FAILED, UNKNOWN = "ok", "failed", "unknown"


_NO_DOMAIN = "libvirt does not have the server"
# The checks that can be made without a definition.
_WITHOUT_DOMAIN = ("record", "original definition", "guest")


@dataclass(frozen=True)
class _Result:
    """The result of a check, and a text for the operator."""

    result: str
    details: str


_Check = Callable[[Rescue], _Result]


def run(options: argparse.Namespace, connection: Any) -> Output:
    """Return the result of each check; the status says whether all succeeded.

    Errors of libvirt propagate.

    :raises CommandError: if the server is not in a rescue on this host
    :raises OSError: if a file cannot be read
    """
    rescue = rescues.of_server(connection, options.server)
    checks = _CHECKS
    if rescue.record is not None and rescue.record.discards_writes:
        checks = (*checks, ("writes", functools.partial(_check_writes, rescue.record)))
    results = [(name, _result(name, check, rescue)) for name, check in checks]
    rows: list[formats.Row] = [
        {"check": name, "result": each.result, "details": each.details}
        for name, each in results
    ]
    text = formats.of_rows(options.format, "checks", _COLUMNS, rows)
    all_hold = all(each.result == OK for _name, each in results)
    return Output(text, SUCCESS if all_hold else NOT_ALL)


def _result(name: str, check: _Check, rescue: Rescue) -> _Result:
    """Make a check, unless it needs a definition that libvirt does not have."""
    if rescue.domain is None and name not in _WITHOUT_DOMAIN:
        return _Result(UNKNOWN, _NO_DOMAIN)
    return check(rescue)


def _check_record(rescue: Rescue) -> _Result:
    if rescue.record is None:
        if rescue.state == reading.UNRECORDED:
            return _Result(UNKNOWN, "Nova's driver has rescued the server")
        if rescue.state == reading.NO_DOMAIN:
            return _Result(FAILED, "there is no record that can be read")
        return _Result(FAILED, f"the record is {rescue.state}")
    if rescue.record.state is not State.RESCUED:
        return _Result(FAILED, f"the state is {rescue.record.state}, not rescued")
    since = formats.time_of(rescue.since)
    return _Result(OK, f"{rescue.record.kind} since {since}")


def _check_original(rescue: Rescue) -> _Result:
    saved = _saved(rescue)
    if saved is None:
        return _Result(FAILED, "unrescue.xml does not have the original definition")
    count = len(compare.devices_of(saved))
    if rescue.record is None:
        return _Result(OK, f"unrescue.xml has {count} devices")
    recorded = Domain.parse(rescue.record.original_xml)
    different = layout.differences(
        layout.layout_of(saved, with_sources=False),
        layout.layout_of(recorded, with_sources=False),
    )
    if different:
        devices = ", ".join(" ".join(each) for each in different)
        return _Result(FAILED, f"unrescue.xml and the record differ in {devices}")
    return _Result(OK, f"unrescue.xml and the record have the same {count} devices")


def _check_guest(rescue: Rescue) -> _Result:
    if rescue.domain is None:
        return _Result(FAILED, _NO_DOMAIN)
    return _Result(OK, "runs") if rescue.is_running else _Result(FAILED, "is off")


def _check_disk(rescue: Rescue) -> _Result:
    disk = recognize.any_rescue_disk(rescue.definition)
    if disk is None:
        return _Result(FAILED, "the definition has no rescue disk")
    described = compare.device_of(disk)
    text = f"{rescue.device}, {described.name} at {described.address}"
    if rescue.kind == "stock":
        return _Result(OK, text)
    ordered = [
        device
        for device in rescue.definition.each_device()
        if device.find("boot") is not None
    ]
    if ordered != [disk] or rescue.definition.root.find("os/boot") is not None:
        return _Result(FAILED, f"{text}, is not the only device to boot from")
    return _Result(OK, f"{text}, alone has a boot order")


def _check_devices(rescue: Rescue) -> _Result:
    original = reading.original_of(rescue)
    if original is None:
        return _Result(UNKNOWN, "the original definition is lost")
    comparison = compare.compare(original, rescue.definition)
    count = f"{len(comparison.disturbed)} of {len(comparison.originals)}"
    if comparison.disturbed:
        devices = ", ".join(str(change.device) for change in comparison.disturbed)
        return _Result(FAILED, f"{count} moved or are missing: {devices}")
    return _Result(OK, f"{count} moved")


def _check_boot(rescue: Rescue) -> _Result:
    """Check that the guest has read its rescue disk since it was started."""
    disk = recognize.any_rescue_disk(rescue.definition)
    if disk is None or not rescue.is_running:
        return _Result(UNKNOWN, "no rescue system runs")
    try:
        counters = rescue.domain.blockStats(document.target_of(disk)[0])
    except libvirt.libvirtError as exc:
        return _Result(UNKNOWN, f"libvirt has no counters of the disk: {exc}")
    requests, count = counters[:2]
    size = formats.text_of("read_bytes", count)
    text = f"{size} read from the rescue disk in {requests} requests"
    if not requests:
        return _Result(FAILED, "the rescue disk was not read")
    if count < booted.bytes_of_boot(disk):
        return _Result(UNKNOWN, f"only {text}, perhaps by the firmware")
    return _Result(OK, text)


def _check_volumes(rescue: Rescue) -> _Result:
    original = reading.original_of(rescue)
    if original is None:
        return _Result(UNKNOWN, "the original definition is lost")
    volumes = [d for d in original.disks() if uuidutils.is_uuid_like(_serial(d))]
    present = {_serial(disk): disk for disk in rescue.definition.disks()}
    problems = list(_volume_problems(volumes, present))
    if problems:
        return _Result(FAILED, "; ".join(problems))
    return _Result(OK, f"{len(volumes)} of {len(volumes)} are connected")


def _volume_problems(
    volumes: list[etree._Element], present: dict[str, etree._Element]
) -> Iterator[str]:
    for volume in volumes:
        name = f"volume {_serial(volume)} ({document.target_of(volume)[0]})"
        disk = present.get(_serial(volume))
        if disk is None:
            yield f"{name} is not in the definition"
            continue
        # Below an overlay, if the rescue discards its writes (E8).
        path = sources.path_of_source(overlays.source_below(disk))
        # QEMU itself connects a network disk when the guest is started.
        if path is not None:
            try:
                problem = deadline.limited(name, functools.partial(_path_problem, path))
            except exception.Refused as exc:
                yield str(exc)
            else:
                if problem:
                    yield f"{name}: {problem}"


def _check_writes(record: Record, rescue: Rescue) -> _Result:
    """Check that the guest writes to overlays, as the record says (E8)."""
    planned = overlays.targets(Domain.parse(record.rescue_xml))
    present = overlays.targets(rescue.definition)
    written = [target for target in planned if target not in present]
    if written:
        return _Result(FAILED, f"no overlay protects {', '.join(written)}")
    return _Result(OK, f"{len(planned)} of {len(planned)} disks have an overlay")


def _path_problem(path: str) -> str:
    """Return what is wrong with the path of a volume; empty if nothing."""
    try:
        mode = Path(path).stat().st_mode
    except OSError as exc:
        return f"{path}: {exc.strerror}"
    if stat.S_ISBLK(mode) or stat.S_ISREG(mode):
        return ""
    return f"{path} is neither a block device nor a file"


def _serial(disk: etree._Element) -> str:
    return sources.serial_of(disk)


def _saved(rescue: Rescue) -> Domain | None:
    return Store(str(reading.directory_of(rescue.uuid))).load_original()


_CHECKS: tuple[tuple[str, _Check], ...] = (
    ("record", _check_record),
    ("original definition", _check_original),
    ("guest", _check_guest),
    ("rescue disk", _check_disk),
    ("devices", _check_devices),
    ("boot", _check_boot),
    ("volumes", _check_volumes),
)
