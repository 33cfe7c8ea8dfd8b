# SPDX-License-Identifier: Apache-2.0
"""stable-rescue clean: remove what rescues of deleted servers left on this host.

nova-compute guards a server's rescue with a lock in its own process, which a command
cannot hold. Therefore only what nova-compute does not touch any more is removed: a
server that libvirt does not have here, that Nova has deleted, and whose last host was
this one. Deleted servers do not come back. A file lock keeps a second command waiting.

Memory dumps are evidence, and nobody can make them again. They are listed, and removed
only if the operator also says how old they must be.
"""

import argparse
import contextlib
import os
import pwd
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nova import conf as nova_conf
from nova import objects
from oslo_concurrency import lockutils
from oslo_utils import timeutils

from stable_rescue import nova_internals
from stable_rescue.cmd import formats, reading, rescues
from stable_rescue.cmd.exits import (
    NOT_ALL,
    SUCCESS,
    UNAVAILABLE,
    CommandError,
    Output,
)
from stable_rescue.storage import leftovers
from stable_rescue.storage.leftovers import Leftover
from stable_rescue.storage.memory_dump import Dump

CONF = nova_conf.CONF

# What fits on a screen, and what programs get.
_TABLE = ("action", "size_bytes", "reason", "leftover")
_COLUMNS = ("server", "leftover", "size_bytes", "action", "reason")
_LOCK = "stable-rescue-clean"
_DAY = 24 * 60 * 60

# The actions: what is done with a leftover, or would be done with --yes.
REMOVE, REMOVED, KEPT, FAILED = "remove", "removed", "kept", "failed"


@dataclass(frozen=True)
class _Found:
    """A leftover, what is done with it, and why."""

    leftover: Leftover
    action: str
    reason: str


def run(options: argparse.Namespace, connection: Any) -> Output:
    """Return what there is to remove or, with ``--yes``, what was removed.

    Errors of libvirt propagate.

    :raises CommandError: if Nova's conductor or Ceph does not answer
    :raises OSError: if a directory cannot be read
    """
    if CONF.libvirt.images_type == "lvm":
        print("stable-rescue: LVM volumes are not looked at", file=sys.stderr)
    try:
        nova_internals.connect_to_conductor()
    except Exception as exc:
        raise CommandError(
            UNAVAILABLE, f"cannot reach Nova's conductor: {exc}"
        ) from exc
    days = options.dumps_older_than
    found = _clean(connection, days) if options.yes else list(_search(connection, days))
    rows = [_row_of(each) for each in found]
    columns = _TABLE if options.format == "table" else _COLUMNS
    text = formats.of_rows(options.format, "leftovers", columns, rows)
    failed = any(each.action == FAILED for each in found)
    return Output(text, NOT_ALL if failed else SUCCESS)


def _clean(connection: Any, dump_days: int | None) -> list[_Found]:
    """Search again with the lock held, and remove; return what was done."""
    instances = Path(CONF.instances_path)
    locks = instances / "locks"  # where Nova keeps locks as well
    with (
        _as_owner_of(instances),
        lockutils.lock(
            _LOCK, lock_file_prefix="nova-", external=True, lock_path=str(locks)
        ),
    ):
        return [
            _remove(each.leftover) if each.action == REMOVE else each
            for each in list(_search(connection, dump_days))
        ]


def _remove(leftover: Leftover) -> _Found:
    try:
        if leftovers.remove(leftover):
            return _Found(leftover, REMOVED, _DELETED)
        return _Found(leftover, FAILED, "Ceph says that the image is in use")
    except Exception as exc:  # noqa: BLE001 - the others are removed
        return _Found(leftover, FAILED, str(exc))


_DELETED = "Nova has deleted the server, and libvirt does not have it"
_NOT_IN_CELL = (
    "Nova does not have the server in this cell, not even as deleted: it was purged, "
    "or is in another cell"
)


def _search(connection: Any, dump_days: int | None) -> Iterator[_Found]:
    """Yield what is left of servers that libvirt does not have on this host.

    :param dump_days: the age in days above which a memory dump can be removed; None if
        none can
    """
    domains = rescues.domains_of(connection)
    known = {domain.UUIDString() for domain in domains}
    try:
        candidates = list(leftovers.find(known))
    except OSError:
        raise
    except Exception as exc:
        raise CommandError(UNAVAILABLE, f"cannot read the rbd pool: {exc}") from exc
    if not candidates:
        return
    try:
        uuids = {leftover.uuid for leftover in candidates}
        instances = nova_internals.instances_even_deleted(uuids)
    except Exception as exc:
        raise CommandError(
            UNAVAILABLE,
            f"cannot ask Nova's conductor which servers exist, so nothing is removed: "
            f"{exc}",
        ) from exc
    definitions = "\n".join(map(reading.definition_of, domains)).lower()
    for leftover in candidates:
        instance = instances.get(leftover.uuid)
        if instance is not None and not instance.deleted and not _is_here(instance):
            continue  # of a server on another host that shares the storage
        if leftover.dump is not None and leftover.dump.is_complete:
            reason = _reason_to_keep_dump(leftover.dump, instance, dump_days)
        else:
            reason = _reason_to_keep(instance)
        if not reason and leftover.uuid in definitions:
            reason = "the definition of another server on this host names it"
        if reason:
            yield _Found(leftover, KEPT, reason)
        else:
            yield _Found(leftover, REMOVE, _DELETED)


def _reason_to_keep(instance: "objects.Instance | None") -> str:
    """Return why what is left of a server must stay; empty if it can be removed."""
    if instance is None:
        return _NOT_IN_CELL
    if not instance.deleted:
        return "Nova has the server on this host; the start of nova-compute recovers it"
    if not _is_here(instance):
        return f"the server was last on host {instance.host}; run the command there"
    return ""


def _reason_to_keep_dump(
    dump: Dump, instance: "objects.Instance | None", days: int | None
) -> str:
    """Return why a complete memory dump must stay; empty if it can be removed.

    The file is on this host, wherever the server was migrated to after its dump.
    """
    if instance is None:
        return _NOT_IN_CELL
    if not instance.deleted:
        return "Nova has the server on this host"
    if days is None:
        return "a memory dump is evidence; only --dumps-older-than DAYS removes it"
    if timeutils.utcnow_ts(microsecond=True) - dump.changed_at < days * _DAY:
        return f"the memory dump is not older than {days} days"
    return ""


def _is_here(instance: "objects.Instance") -> bool:
    return bool(instance.host == CONF.host)


@contextlib.contextmanager
def _as_owner_of(folder: Path) -> Iterator[None]:
    """Let root act as the owner of a folder, which is the user of nova-compute.

    This user can put a symlink wherever the command opens or removes a file.
    """
    owner = folder.stat()
    if os.geteuid() or not owner.st_uid:
        yield
        return
    group, groups = os.getegid(), os.getgroups()
    os.setgroups(_groups_of(owner.st_uid, owner.st_gid))
    os.setegid(owner.st_gid)
    os.seteuid(owner.st_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)
        os.setgroups(groups)


def _groups_of(user: int, group: int) -> list[int]:
    """Return the groups of a user, such as the one that may read Ceph's keyring."""
    try:
        return os.getgrouplist(pwd.getpwuid(user).pw_name, group)
    except KeyError:
        return [group]


def _row_of(found: _Found) -> formats.Row:
    return {
        "server": found.leftover.uuid,
        "leftover": found.leftover.place,
        "size_bytes": found.leftover.size_bytes,
        "action": found.action,
        "reason": found.reason,
    }
