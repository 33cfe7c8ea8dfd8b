# SPDX-License-Identifier: Apache-2.0
"""Nova's disk.info: which format each disk in an instance's directory has.

Nova writes a line when it first looks at a disk and never takes one away. A line
that outlives its rescue disk would give the next one, of another image, its format
(UPSTREAM U9).
"""

import json
from collections.abc import Collection
from pathlib import Path

from nova import utils
from oslo_log import log as logging

from stable_rescue.storage import files

LOG = logging.getLogger(__name__)

_NAME = "disk.info"


def forget(instance_dir: str, names: Collection[str]) -> None:
    """Take disks out of disk.info; one that is not in it is no error.

    A file that Nova itself could not read is left as it is, for it to tell.

    :raises OSError: where it cannot be written; what was there before stays
    """
    path = Path(instance_dir, _NAME)
    gone = {str(Path(instance_dir, name)) for name in names}

    # Nova's own lock for it (imagebackend.Image.resolve_driver_format).
    @utils.synchronized(str(path), external=False)
    def rewrite() -> None:
        known = _read(path)
        left = {disk: known[disk] for disk in known if disk not in gone}
        if known and not left:
            files.remove(path)
        elif left != known:
            files.write(path, json.dumps(left) + "\n")

    rewrite()


def _read(path: Path) -> dict[str, str]:
    try:
        found = json.loads(path.read_text(encoding="utf-8") or "{}")
    except FileNotFoundError:
        return {}
    except ValueError as exc:
        LOG.warning("%s cannot be read: %s", path, exc)
        return {}
    return found if isinstance(found, dict) else {}
