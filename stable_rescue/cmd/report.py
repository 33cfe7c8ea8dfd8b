# SPDX-License-Identifier: Apache-2.0
"""stable-rescue report: what a rescue has done, for an investigator."""

import argparse
import contextlib
import os
from pathlib import Path
from typing import Any

import libvirt

from stable_rescue import exception
from stable_rescue.cmd import formats, hashing, reading, rescues, table
from stable_rescue.cmd.exits import NOT_FOUND, UNAVAILABLE, CommandError, Output
from stable_rescue.cmd.opened import READ_ONLY, OpenFiles
from stable_rescue.domain import counters, overlays, recognize, sources
from stable_rescue.domain.document import Domain, target_of
from stable_rescue.storage import reports
from stable_rescue.storage.record import State
from stable_rescue.storage.reports import Report
from stable_rescue.storage.store import Store

_FACTS = (
    *("server", "host", "project_id", "request_id", "prepared_at", "kind"),
    *("image_id", "image_checksum", "original_sha256", "rescue_sha256"),
)
_DISKS = ("target", "source", "overlay", "opened", "writes", "sha256")
_DUMP = ("path", "size_bytes", "format", "sha256")
_LOG = ("time", "what", "details")
#: What no report proves.
LIMITS = (
    "Whoever is root on the host can change disks, overlays, dumps and this report.",
    "The kernel and libvirt say how disks are opened and what was written to them, "
    "since the last start of the guest.",
    "The digest of a disk covers its file or block device on this host. A disk in Ceph "
    "has no digest, nor has a disk that the server's system uses.",
    "Digests of definitions leave their secrets out.",
    "The boot is verified by what the guest has read, not by what runs in it.",
)
# A rescue in these states lasts seconds, and must not be slowed down.
_CHANGING = (State.BEGINNING, State.ENDING)


def run(options: argparse.Namespace, connection: Any) -> Output:
    """Return the newest report of a server's rescues on this host.

    Errors of libvirt propagate.

    :raises CommandError: if there is no report, or its rescue is changing
    :raises OSError: if a file cannot be read
    """
    uuid = rescues.uuid_of(connection, options.server)
    paths = reports.paths_of(uuid)
    if not paths:
        raise CommandError(
            NOT_FOUND, f"this host has no report of a rescue of server {options.server}"
        )
    try:
        content = _content(reports.read(paths[-1]))
    except (ValueError, KeyError, TypeError) as exc:
        raise CommandError(UNAVAILABLE, f"{paths[-1]}: {exc}") from exc
    running = _running(connection, uuid)
    _add_what_is_now(content, connection, running)
    if options.hash:
        hasher = hashing.Hasher(lambda: _check_not_changing(uuid))
        _add_digests(content, running, hasher)
    content["earlier_reports"] = len(paths) - 1
    content["limits"] = list(LIMITS)
    if options.format != "table":
        return Output(formats.of_content(options.format, content))
    return Output("\n".join(_lines(content)) + "\n")


def _content(report: Report) -> dict[str, Any]:
    """Return a report as the command prints it."""
    image = report["image"]
    facts = {"image_id": image["id"], "image_checksum": image["checksum"]}
    content: dict[str, Any] = {key: (report | facts)[key] for key in _FACTS}
    written: dict[str, int] = {}
    for entry in report["log"]:
        written = entry.get("writes_to_originals", written)
    content["disks"] = [
        {**disk, "opened": None, "writes": written.get(disk["target"]), "sha256": None}
        for disk in report["disks"]
    ]
    path = report["memory_dump"]
    content["memory_dump"] = hashing.described(path) if path else None
    content["log"] = report["log"]
    return content


def _running(connection: Any, uuid: str) -> tuple[Any, Domain] | None:
    """Return the domain of a server and its definition, if its guest runs."""
    domain = rescues.find_domain(connection, uuid)
    if domain is None:
        return None
    text = reading.definition_of(domain)
    if not text or not domain.isActive():
        return None
    return domain, Domain.parse(text)


def _add_what_is_now(
    content: dict[str, Any], connection: Any, running: tuple[Any, Domain] | None
) -> None:
    """Add how QEMU uses the original disks, if the rescue system runs."""
    if running is None or recognize.rescue_disk(running[1]) is None:
        return
    domain, definition = running
    opened = OpenFiles(domain.name())
    stats: dict[str, Any] = {}
    with contextlib.suppress(libvirt.libvirtError):
        ((_domain, stats),) = connection.domainListGetStats(
            [domain],
            libvirt.VIR_DOMAIN_STATS_BLOCK,
            libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_BACKING,
        )
    written = counters.writes_to_originals(stats, overlays.targets(definition))
    paths = _paths_of(definition)
    for disk in content["disks"]:
        target = disk["target"]
        if target in paths:
            disk["opened"] = opened.mode(paths[target]) or opened.mode(disk["path"])
            disk["writes"] = written.get(target, disk["writes"])


def _paths_of(definition: Domain) -> dict[str, str | None]:
    """Return the paths of the original disks that a guest uses, by target name.

    The config drive of a rescue takes the place of the original one (E5).
    """
    paths = {target_of(disk)[0]: _path_of(disk) for disk in definition.disks()}
    return {
        target: path and os.path.realpath(path)
        for target, path in paths.items()
        if not (path or "").endswith(recognize.RESCUE_SUFFIX)
    }


def _path_of(disk: Any) -> str | None:
    """Return the path of an original disk, which may be below an overlay."""
    return sources.path_of_source(overlays.source_below(disk))


def _add_digests(
    content: dict[str, Any],
    running: tuple[Any, Domain] | None,
    hasher: "hashing.Hasher",
) -> None:
    used = {} if running is None else _paths_of(running[1])
    protected = [] if running is None else overlays.targets(running[1])
    for disk in content["disks"]:
        # A disk that is written meanwhile never had the content that would be read.
        if (
            disk["target"] not in used
            or disk["target"] in protected
            or disk["opened"] == READ_ONLY
        ):
            disk["sha256"] = hasher.digest_of(disk["path"], disk["target"])
    dump = content["memory_dump"]
    if dump is not None and dump["size_bytes"] is not None:
        dump["sha256"] = hasher.digest_of(dump["path"], "the memory dump")


def _check_not_changing(uuid: str) -> None:
    """Check that the server is not off for a moment because of its rescue.

    :raises CommandError: if it is
    """
    with contextlib.suppress(exception.InvalidRecord):
        record = Store(str(reading.directory_of(uuid))).read()
        if record is not None and record.state in _CHANGING:
            raise CommandError(
                UNAVAILABLE, f"the rescue of server {uuid} is changing; try again"
            )


def _lines(content: dict[str, Any]) -> list[str]:
    names = {key: formats.title_of(key) for key in _FACTS}
    width = max(map(len, names.values())) + 2
    lines = [
        name.ljust(width) + table.printable(formats.text_of(key, content[key]))
        for key, name in names.items()
    ]
    log: list[formats.Row] = [
        {
            "time": entry["time"],
            "what": entry["what"],
            "details": ", ".join(
                f"{formats.title_of(key)} {value}"
                for key, value in entry.items()
                if key not in ("time", "what")
            ),
        }
        for entry in content["log"]
    ]
    dump: formats.Row | None = content["memory_dump"]
    # The folder of the overlays is the server's; its name makes the table too wide.
    disks: list[formats.Row] = [
        {**disk, "overlay": disk["overlay"] and Path(disk["overlay"]).name}
        for disk in content["disks"]
    ]
    for title, columns, rows in (
        ("Disks", _DISKS, disks),
        ("Memory dump", _DUMP, [] if dump is None else [dump]),
        ("Log", _LOG, log),
    ):
        lines += ["", title]
        if rows:
            text = formats.of_rows("table", title, columns, rows)
            lines += [f"  {line}" for line in text.splitlines()]
        else:
            lines.append("  none")
    return [*lines, "", "Not proved", *(f"  {limit}" for limit in content["limits"])]
