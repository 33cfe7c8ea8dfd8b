# SPDX-License-Identifier: Apache-2.0
"""Nova's disk.info: the format of each disk in an instance's directory.

Nova adds a line when it first reads a disk, and never removes one. The line of an old
rescue disk would give the next one, made from another image, the old format (U9).
"""

import contextlib
import json
from collections.abc import Collection, Iterator
from pathlib import Path

from nova import utils
from oslo_log import log as logging

from stable_rescue.storage import files

LOG = logging.getLogger(__name__)

_NAME = "disk.info"


def remove(instance_dir: str, names: Collection[str]) -> None:
    """Remove disks from disk.info; a disk that is not listed is no error.

    A file that Nova cannot read either is left for Nova to report.

    :raises OSError: if the file cannot be written; its old content is kept
    """
    path = Path(instance_dir, _NAME)
    unwanted = {str(Path(instance_dir, name)) for name in names}

    # Nova holds the same lock (imagebackend.Image.resolve_driver_format).
    @utils.synchronized(str(path), external=False)
    def rewrite() -> None:
        formats = _read(path)
        left = {disk: formats[disk] for disk in formats if disk not in unwanted}
        if formats and not left:
            files.remove(path)
        elif left != formats:
            files.write(path, json.dumps(left) + "\n")

    rewrite()


@contextlib.contextmanager
def unchanged(instance_dir: str, names: Collection[str]) -> Iterator[None]:
    """Remove the lines that Nova adds for these disks in the block.

    Nova also makes a directory that is missing; it is removed if nothing is in it.

    :raises OSError: if the file cannot be written
    """
    folder = Path(instance_dir)
    existed, listed = folder.exists(), _read(folder / _NAME)
    try:
        yield
    finally:
        if folder.exists():
            remove(
                instance_dir,
                [name for name in names if str(folder / name) not in listed],
            )
        if not existed:
            with contextlib.suppress(OSError):
                folder.rmdir()


def _read(path: Path) -> dict[str, str]:
    """Return the format of each disk by its path; {} if the file is unreadable."""
    try:
        content = json.loads(path.read_text(encoding="utf-8") or "{}")
    except FileNotFoundError:
        return {}
    except ValueError as exc:
        LOG.warning(
            "Ignoring the formats of disks in %s, which Nova cannot read either: %s",
            path,
            exc,
        )
        return {}
    return content if isinstance(content, dict) else {}
