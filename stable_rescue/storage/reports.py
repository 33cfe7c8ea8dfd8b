# SPDX-License-Identifier: Apache-2.0
"""The reports of rescues: what nova-compute has done, for an investigator.

A report is a file of JSON in state_path, which only its owner can read. The folder has
the host in its name, because hosts may share state_path. Nothing reads a report but
``stable-rescue report``, and a rescue goes on if its report cannot be written.
"""

import contextlib
import datetime
import json
from pathlib import Path
from typing import Any

from nova import conf as nova_conf
from oslo_utils import timeutils

from stable_rescue.storage import files

CONF = nova_conf.CONF

#: Counts up whenever a key of the files is renamed or removed.
FORMAT = 1
_SUFFIX = ".json"

Report = dict[str, Any]


def folder() -> Path:
    """Return the folder of this host's reports."""
    return Path(CONF.state_path, f"stable-rescue-reports-{CONF.host}")


def begin(uuid: str, content: Report) -> None:
    """Write the report of a new rescue of an instance.

    If state_path is the folder of the code, nova-compute writes no reports.

    :raises OSError: if it cannot be written
    """
    if CONF.state_path == CONF.pybasedir:
        return
    with contextlib.suppress(FileExistsError):
        folder().mkdir(mode=0o700)
    time = timeutils.utcnow().strftime("%Y%m%dT%H%M%S.%fZ")
    path = folder() / f"{uuid}-{time}{_SUFFIX}"
    _write(path, {"format": FORMAT, "server": uuid, **content, "log": []})


def add(uuid: str, what: str, **details: Any) -> None:
    """Add what has happened now to the newest report of an instance, if there is one.

    :raises OSError: if the report cannot be read or written
    :raises ValueError: if the file is damaged
    """
    paths = paths_of(uuid)
    if not paths:
        return
    report = read(paths[-1])
    report["log"].append({"time": now(), "what": what, **details})
    _write(paths[-1], report)


def paths_of(uuid: str) -> list[Path]:
    """Return the paths of an instance's reports on this host, the newest last."""
    return sorted(folder().glob(f"{uuid}-*{_SUFFIX}"))


def read(path: Path) -> Report:
    """Return the content of a report.

    :raises OSError: if the file cannot be read
    :raises ValueError: if it is damaged, or of a format that is not known
    """
    report = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(report, dict) or report.get("format") != FORMAT:
        raise ValueError(f"{path} is not a report that this version can read")
    return report


def remove_old() -> int:
    """Remove the files that are older than report_keep_days; return their number.

    A process that was killed while it wrote a report has left an incomplete file.

    :raises OSError: if one cannot be removed
    """
    days = CONF.stable_rescue.report_keep_days
    if not days:
        return 0
    oldest = timeutils.utcnow_ts() - datetime.timedelta(days=days).total_seconds()
    removed = 0
    for path in folder().glob("*"):
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_mtime < oldest:
                path.unlink()
                removed += 1
    return removed


def now() -> str:
    """Return the present time as reports have it, in UTC."""
    return timeutils.utcnow().strftime("%Y-%m-%dT%H:%M:%SZ")


def _write(path: Path, report: Report) -> None:
    files.write_aside(path, json.dumps(report, indent=1, ensure_ascii=False))
