# SPDX-License-Identifier: Apache-2.0
"""What a rescue has left of a server: files, memory dumps, images in the rbd pool.

Nothing here looks at whether a server still needs them.
"""

import contextlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from nova import conf as nova_conf
from nova.storage import rbd_utils
from oslo_utils import uuidutils

from stable_rescue.storage import (
    files,
    kernel,
    medium,
    memory_dump,
    nvram,
    overlays,
    store,
)
from stable_rescue.storage.memory_dump import Dump

CONF = nova_conf.CONF

#: The names of the files, but for overlays. The record is last: it shows that work is
#: left.
NAMES = (*medium.NAMES, *kernel.NAMES, nvram.NAME, *store.NAMES)


@dataclass(frozen=True)
class Leftover:
    """A file, or an image in Nova's rbd pool, that belongs to a server's rescue.

    ``size_bytes`` is None for an image. ``place`` is the path of the file, or the pool
    and the name of the image. ``dump`` is the memory dump that the file is, if any.
    """

    uuid: str
    place: str
    size_bytes: int | None = None
    dump: Dump | None = None

    @property
    def is_image(self) -> bool:
        """True for an image in the rbd pool."""
        return self.size_bytes is None


def files_in(directory: Path) -> list[Path]:
    """Return the files of a rescue, and their temporary files, in a directory.

    :raises OSError: if the directory cannot be read; a missing one is no error
    """
    present: set[str] = set()
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        present.update(path.name for path in directory.iterdir())
    paths = [directory / name for name in NAMES]
    both = (each for path in paths for each in (files.temporary_path(path), path))
    named = [path for path in both if path.name in present]
    return [*overlays.in_folder(directory), *named]


def find(known: Collection[str]) -> Iterator[Leftover]:
    """Yield what is there of rescues, but not of known servers.

    Errors of Ceph propagate.

    :param known: the UUIDs of servers that are not looked at
    :raises OSError: if a directory cannot be read
    """
    for directory in store.instance_directories():
        if directory.name not in known:
            yield from _files_of(directory)
    for dump in memory_dump.dumps():
        if dump.uuid not in known:
            yield Leftover(dump.uuid, str(dump.path), dump.size_bytes, dump)
    for image in _images():
        uuid, _, name = image.partition("_")
        if name in medium.NAMES and uuidutils.is_uuid_like(uuid) and uuid not in known:
            yield Leftover(uuid, f"{CONF.libvirt.images_rbd_pool}/{image}")


def remove(leftover: Leftover) -> bool:
    """Remove a file or an image; return False if Ceph says that an image is in use.

    A missing one is no error. Errors of Ceph propagate.

    :raises OSError: if a file cannot be removed
    """
    if leftover.dump is not None:
        leftover.dump.path.unlink(missing_ok=True)
        return True
    if not leftover.is_image:
        files.remove(_final(Path(leftover.place)))
        with contextlib.suppress(OSError):
            Path(leftover.place).parent.rmdir()
        return True
    name = leftover.place.rpartition("/")[2]
    rbd_utils.RBDDriver().cleanup_volumes(lambda each: each == name)
    return name not in _images()


def _files_of(directory: Path) -> Iterator[Leftover]:
    for path in files_in(directory):
        with contextlib.suppress(FileNotFoundError):
            yield Leftover(directory.name, str(path), path.lstat().st_size)


def _final(path: Path) -> Path:
    """Return the path that a temporary file would get; of another file, its path."""
    for name in NAMES:
        final = path.with_name(name)
        if files.temporary_path(final) == path:
            return final
    return path


def _images() -> list[str]:
    """Return the names of all images in Nova's rbd pool; [] if Nova uses none."""
    if CONF.libvirt.images_type != "rbd":
        return []
    names: list[str] = []

    def note(name: str) -> bool:
        names.append(name)
        return False  # it is not removed

    rbd_utils.RBDDriver().cleanup_volumes(note)
    return names
