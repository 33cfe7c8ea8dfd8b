# SPDX-License-Identifier: Apache-2.0
"""The files of memory dumps, in the operator's folder.

A dump is written under a temporary name and renamed when it is complete. nova-compute
never removes a complete dump, not even if the rescue fails later: nobody can make it
again.
"""

import contextlib
import itertools
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nova import conf as nova_conf
from oslo_log import log as logging
from oslo_utils import timeutils, units

from stable_rescue import exception, steps
from stable_rescue.storage import files

CONF = nova_conf.CONF
LOG = logging.getLogger(__name__)

# QEMU also dumps the memory of the graphics card and of the firmware, and tables.
_BESIDES_MEMORY = 128 * units.Mi
_SUFFIX = ".dump"
# The name of a dump, or of its temporary file, and the server that it is of.
_NAME = re.compile(
    r"(?P<dot>\.)?(?P<uuid>[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})-[0-9]{8}T[0-9]{6}Z"
    r"(-[0-9]+)?\.dump(?(dot)\.new)"
)
#: The bits of the mode that the folder must not have.
WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


@dataclass(frozen=True)
class Dump:
    """The file of a server's memory dump.

    ``changed_at`` is when it was written last, in seconds since the epoch.
    """

    uuid: str
    path: Path
    is_complete: bool
    size_bytes: int
    changed_at: float


def allowed() -> list[str]:
    """Return the values of hw_rescue_memory that the operator allows."""
    return ["none", "dump"] if CONF.stable_rescue.memory_dump_path else ["none"]


def new_path(uuid: str) -> Path:
    """Return the path of a new dump of an instance; there is no file yet."""
    time = timeutils.utcnow().strftime("%Y%m%dT%H%M%SZ")
    folder = Path(CONF.stable_rescue.memory_dump_path)
    name = f"{uuid}-{time}"
    for suffix in itertools.chain([""], (f"-{n}" for n in itertools.count(2))):
        path = folder / f"{name}{suffix}{_SUFFIX}"
        if not (path.exists() or temporary_path(path).exists()):
            break
    return path


def temporary_path(path: Path) -> Path:
    """Return the path of a dump until it is complete."""
    return files.temporary_path(path)


def dumps() -> Iterator[Dump]:
    """Yield the dumps in the operator's folder, whatever rescue has left them.

    :raises OSError: if the folder cannot be read; a missing one is no error
    """
    folder = CONF.stable_rescue.memory_dump_path
    if not folder:
        return
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        for path in sorted(Path(folder).iterdir()):
            name = _NAME.fullmatch(path.name)
            if name is None:
                continue
            with contextlib.suppress(FileNotFoundError):
                status = path.lstat()
                is_complete = name["dot"] is None
                yield Dump(
                    name["uuid"], path, is_complete, status.st_size, status.st_mtime
                )


def check(size: int) -> None:
    """Check that the host can store a dump; nothing is changed.

    :param size: of the memory in bytes
    :raises Refused: if it cannot
    """
    limit = CONF.stable_rescue.memory_dump_max_size
    if limit and size > limit * units.Gi:
        raise exception.Refused(
            f"the server has {size / units.Gi:.1f} GiB of memory, and the operator "
            f"allows dumps of up to {limit} GiB"
        )
    problem = _problem(Path(CONF.stable_rescue.memory_dump_path), size)
    if problem is not None:
        LOG.warning(
            "Cannot dump memory to [stable_rescue] memory_dump_path = %s: %s",
            CONF.stable_rescue.memory_dump_path,
            problem,
        )
        raise exception.Refused(
            "the compute host cannot store a dump of the server's memory; ask the "
            "operator"
        )


def _problem(folder: Path, size: int) -> str | None:
    """Return why a folder cannot get a dump, for the operator; None if it can."""
    try:
        status = folder.stat()
        space = os.statvfs(folder)
    except OSError as exc:
        return exc.strerror
    if not stat.S_ISDIR(status.st_mode):
        return "it is not a folder"
    # libvirtd, which is root, opens the file by its name.
    if status.st_mode & WRITABLE_BY_OTHERS or status.st_uid not in (0, os.geteuid()):
        return "others than the user of nova-compute can write to it"
    if not os.access(folder, os.W_OK | os.X_OK):
        return "the user of nova-compute cannot write to it"
    free, needed = space.f_bavail * space.f_frsize, size + _BESIDES_MEMORY
    if needed > free:
        return (
            f"a dump needs up to {needed / units.Gi:.1f} GiB, and "
            f"{free / units.Gi:.1f} GiB are free"
        )
    return None


@steps.changes("make the file of a memory dump")
def make(path: Path) -> None:
    """Make the temporary file of a dump, which only its owner can read.

    :raises OSError: if the file exists or cannot be made
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    os.close(os.open(temporary_path(path), flags, 0o600))


def keep(path: Path) -> int:
    """Rename the temporary file of a dump that is complete; return its size in bytes.

    :raises OSError: if the file cannot be renamed
    """
    files.move_into_place(path)
    return path.stat().st_size


def remove_incomplete(path: Path) -> None:
    """Remove the temporary file of a dump; a missing file or folder is no error.

    :raises OSError: if it cannot be removed
    """
    if temporary_path(path).exists():
        _remove_temporary(path)


@steps.changes("remove an incomplete memory dump")
def _remove_temporary(path: Path) -> None:
    temporary_path(path).unlink(missing_ok=True)
