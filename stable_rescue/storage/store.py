# SPDX-License-Identifier: Apache-2.0
"""The files that say how a rescued server is restored: the record and unrescue.xml."""

import contextlib
import datetime
import errno
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from nova import conf as nova_conf
from nova import objects
from nova.compute import vm_states
from nova.virt.libvirt import utils as libvirt_utils
from oslo_log import log as logging
from oslo_utils import uuidutils

from stable_rescue import exception
from stable_rescue.domain import recognize
from stable_rescue.domain.document import Domain
from stable_rescue.storage import files
from stable_rescue.storage.known_rescue import KnownRescue
from stable_rescue.storage.record import Record

CONF = nova_conf.CONF
LOG = logging.getLogger(__name__)

_RECORD = "stable_rescue.json"
# Nova keeps the original definition in the same file, so each driver can unrescue a
# server that the other has rescued.
_UNRESCUE_XML = "unrescue.xml"
#: The names of both files; the record is removed last.
NAMES = (_UNRESCUE_XML, _RECORD)


class Store:
    """The record and the original definition, in one instance's directory."""

    def __init__(self, instance_dir: str) -> None:
        self._record = Path(instance_dir, _RECORD)
        self._unrescue_xml = Path(instance_dir, _UNRESCUE_XML)

    def load(self) -> Record | None:
        """Return the record, or None if there is none that can be read (U19)."""
        try:
            return self.read()
        except (OSError, exception.InvalidRecord) as exc:
            LOG.warning(
                "Ignoring the rescue record %s, which cannot be read: %s",
                self._record,
                exc,
            )
            return None

    def read(self) -> Record | None:
        """Return the record, or None if there is none.

        :raises InvalidRecord: if this version does not know the record's format
        :raises OSError: if the file cannot be read
        """
        try:
            return Record.from_json(self._record.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except UnicodeDecodeError as exc:
            raise exception.InvalidRecord(str(exc)) from exc

    def is_open_to_others(self) -> bool:
        """Return True if others than its owner may read the record.

        :raises OSError: if the instance's directory cannot be read
        """
        try:
            mode = self._record.stat().st_mode
        except FileNotFoundError:
            return False
        return bool(mode & (stat.S_IRGRP | stat.S_IROTH))

    def has_record(self) -> bool:
        """Return True if there is a record, even a damaged one.

        :raises OSError: if the instance's directory cannot be read
        """
        return self._record.exists()

    def changed_at(self) -> datetime.datetime | None:
        """Return when the record was written, in UTC; otherwise, unrescue.xml.

        :returns: None if both files are missing
        :raises OSError: if the instance's directory cannot be read
        """
        return _time_of(self._record) or _time_of(self._unrescue_xml)

    def original_saved_at(self) -> datetime.datetime | None:
        """Return when unrescue.xml was written, in UTC; None if it is missing.

        :raises OSError: if the instance's directory cannot be read
        """
        return _time_of(self._unrescue_xml)

    def save(self, record: Record) -> None:
        """Write the record.

        :raises OSError: if it cannot be written; an older record is kept
        """
        files.write(self._record, record.to_json())

    def save_if_space(self, record: Record) -> None:
        """Write the record; if the file system is full, only log that.

        An unrescue must not fail because of a full disk.

        :raises OSError: if it cannot be written for another reason
        """
        with _unless_full(self._record):
            self.save(record)

    def remove_record(self) -> None:
        """Remove the record only: unrescue.xml may belong to a stock rescue."""
        files.remove(self._record)

    def load_original(self) -> Domain | None:
        """Return the original definition, or None if unrescue.xml does not hold it.

        After a second stock rescue the file may hold a rescue definition (U8).
        """
        saved = self._load_saved()
        return None if saved is None or recognize.is_rescue(saved) else saved

    def has_rescue_as_original(self) -> bool:
        """Return True if unrescue.xml holds the definition of a stable rescue (U8)."""
        saved = self._load_saved()
        return saved is not None and recognize.rescue_disk(saved) is not None

    def has_original(self) -> bool:
        """Return True if there is an unrescue.xml with content, even a damaged one."""
        try:
            return self._unrescue_xml.stat().st_size > 0
        except FileNotFoundError:
            return False

    def save_original(self, definition: str) -> None:
        """Save the original definition; a rescue definition never gets here (U8).

        :raises OSError: if it cannot be written; an older file is kept
        """
        files.write(self._unrescue_xml, definition)

    def save_original_if_space(self, definition: str) -> None:
        """Save the original definition; if the file system is full, only log that.

        :raises OSError: if it cannot be written for another reason
        """
        with _unless_full(self._unrescue_xml):
            self.save_original(definition)

    def remove_original(self) -> None:
        """Remove the original definition."""
        files.remove(self._unrescue_xml)

    def remove_all(self) -> None:
        """Remove both files; the record last, because it shows that work is left."""
        self.remove_original()
        self.remove_record()

    def _load_saved(self) -> Domain | None:
        """Return what unrescue.xml holds; None if it is no domain definition."""
        try:
            return Domain.parse(libvirt_utils.load_file(str(self._unrescue_xml)))
        except FileNotFoundError:
            return None
        except (ValueError, exception.InvalidDomain) as exc:
            LOG.warning(
                "Ignoring %s, which holds no domain definition: %s",
                self._unrescue_xml,
                exc,
            )
            return None


def _time_of(path: Path) -> datetime.datetime | None:
    try:
        seconds = path.stat().st_mtime
    except FileNotFoundError:
        return None
    time = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return time.replace(tzinfo=None)  # like the times in the record


@contextlib.contextmanager
def _unless_full(path: Path) -> Iterator[None]:
    """Log an error of the block that means that the file system is full."""
    try:
        yield
    except OSError as exc:
        if exc.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        LOG.warning(
            "Could not write %s, because the file system is full; continuing with the "
            "older file",
            path,
        )


def store_of(instance: "objects.Instance") -> Store:
    """Return the store in an instance's directory."""
    return Store(libvirt_utils.get_instance_path(instance))


def load(instance: "objects.Instance") -> Record | None:
    """Return an instance's record, or None if there is none that can be read."""
    return store_of(instance).load()


def known_rescue(
    instance: "objects.Instance",
    is_outdated: Callable[[Record], bool] = lambda _record: False,
) -> KnownRescue:
    """Return what this host knows about an instance's rescue.

    :param is_outdated: returns True if a record belongs to an earlier rescue
    :raises OSError: if the instance's directory cannot be read
    """
    store = store_of(instance)
    record = store.load()
    if record is not None and is_outdated(record):
        record = None
    is_lost = (
        instance.vm_state == vm_states.RESCUED
        and record is None
        and store.load_original() is None
    )
    return KnownRescue(
        record,
        record is not None or store.has_record(),
        is_lost,
        store.has_original(),
    )


def with_record(uuids: Iterable[str]) -> list[str]:
    """Return the UUIDs of those instances that have a record, even a damaged one.

    Their directories may be on storage that many hosts share, so no others are read.
    """
    root = Path(CONF.instances_path)
    return [uuid for uuid in uuids if Store(str(root / uuid)).has_record()]


def instance_directories() -> list[Path]:
    """Return the directories of instances in instances_path, of other hosts as well.

    Hosts may share the storage.

    :raises OSError: if instances_path cannot be read
    """
    root = Path(CONF.instances_path)
    return sorted(path for path in root.iterdir() if uuidutils.is_uuid_like(path.name))


def remove_instance_directory(instance: "objects.Instance") -> None:
    """Remove the directory of a deleted instance if it is empty.

    Nova's image backends create it again whenever they are asked for a disk.
    """
    with contextlib.suppress(OSError):
        Path(libvirt_utils.get_instance_path(instance)).rmdir()
