# SPDX-License-Identifier: Apache-2.0
"""Requests of an operator's command to the nova-compute of the same host.

A request is an empty file whose name says everything: INSTANCE_REQUEST.STATE. Each step
renames the file, so a full disk stops neither a request nor its answer, and nobody ever
reads what a file holds. The command locks its file for as long as it waits. The kernel
releases the lock however the command ends, and nova-compute removes a file that nobody
waits for: a request cannot become effective later.

The folder is in state_path and has the host in its name, because hosts may share
state_path as well as instances_path.
"""

import contextlib
import errno
import fcntl
import os
import re
import stat
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from nova import conf as nova_conf

CONF = nova_conf.CONF

#: What is asked for: a recovery, or what a recovery would do.
RECOVER, DRY_RUN = "recover", "dry-run"
#: nova-compute works on the request.
TAKEN = "taken"
#: nova-compute was started anew while it worked on the request.
RESTARTED = "restarted"

_NAME = re.compile(
    r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})_([0-9a-f]{32})\.(.+)"
)
_FILE_FLAGS = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK
_ATTEMPTS = 5


@dataclass(frozen=True)
class Request:
    """A request for one instance. ``asked`` is ``RECOVER`` or ``DRY_RUN``."""

    instance_uuid: str
    id: str
    asked: str

    def named(self, state: str) -> str:
        """Return the name of the request's file in a state."""
        return f"{self.instance_uuid}_{self.id}.{state}"


def folder() -> Path:
    """Return the folder of this host's requests."""
    return Path(CONF.state_path, f"stable-rescue-requests-{CONF.host}")


class Question:
    """A request and the command that waits for its answer.

    What root makes belongs to the owner of state_path, who is nova-compute's user.
    """

    def __init__(self, request: Request, descriptor: int, directory: int) -> None:
        self.request = request
        self._descriptor = descriptor
        self._directory = directory

    @classmethod
    @contextlib.contextmanager
    def ask(cls, instance_uuid: str, asked: str) -> Iterator[Self]:
        """Make a request; withdraw it at the end of the block.

        :raises OSError: if that is not possible, or others may change the folder
        """
        _make_folder()
        with _opened_folder(give=os.geteuid() == 0) as directory:
            request = Request(instance_uuid, uuid.uuid4().hex, asked)
            descriptor = _make(request.named(asked), directory)
            question = cls(request, descriptor, directory)
            try:
                yield question
            finally:
                question._remove()
                os.close(descriptor)

    def state(self) -> str | None:
        """Return the state of the request: what is asked, TAKEN or an answer.

        :returns: None if somebody has removed the request
        """
        prefix = self.request.named("")
        for name in _names(self._directory):
            if name.startswith(prefix):
                return name.removeprefix(prefix)
        # A file that is renamed meanwhile may be missing in the list.
        if os.fstat(self._descriptor).st_nlink:
            return TAKEN
        return None

    def withdraw(self) -> bool:
        """Take the request back; return False if nova-compute has taken it.

        :raises OSError: if the file cannot be removed
        """
        try:
            os.unlink(self.request.named(self.request.asked), dir_fd=self._directory)
        except FileNotFoundError:
            return False
        return True

    def _remove(self) -> None:
        """Remove the file in whatever state; nova-compute removes it otherwise."""
        with contextlib.suppress(OSError):
            _remove(self.request.named(self.state() or ""), self._directory)


def begin() -> None:
    """Make the folder, and answer requests that the previous nova-compute had taken.

    A command could not make the folder on a full disk.

    :raises OSError: if that is not possible, or others may change the folder
    """
    # Nova's default is where Python's modules are.
    if CONF.state_path != CONF.pybasedir:
        _make_folder()
    with contextlib.suppress(FileNotFoundError), _opened_folder() as directory:
        for request, state in _listed(directory):
            if state == TAKEN:
                _rename(request, TAKEN, RESTARTED, directory)


def waiting() -> list[Request]:
    """Return the requests that commands wait for; remove all files of others.

    :raises OSError: if the folder cannot be read, or others may change it
    """
    asked = []
    with contextlib.suppress(FileNotFoundError), _opened_folder() as directory:
        for request, state in _listed(directory):
            # A file of root that is being made cannot be opened yet.
            with contextlib.suppress(OSError):
                is_waited_for = _is_waited_for(request.named(state), directory)
                if is_waited_for and state in (RECOVER, DRY_RUN):
                    asked.append(request)
    return asked


def take(request: Request) -> bool:
    """Take a request; return False if it was withdrawn.

    :raises OSError: if the file cannot be renamed
    """
    with _opened_folder() as directory:
        return _rename(request, request.asked, TAKEN, directory)


def answer(request: Request, state: str) -> None:
    """Answer a request that was taken; nothing happens if nobody waits any more.

    :raises OSError: if the file cannot be renamed
    """
    with contextlib.suppress(FileNotFoundError), _opened_folder() as directory:
        _rename(request, TAKEN, state, directory)


def _make_folder() -> None:
    with contextlib.suppress(FileExistsError):
        folder().mkdir(mode=0o700)


@contextlib.contextmanager
def _opened_folder(give: bool = False) -> Iterator[int]:
    """Open the folder; what is done in it stays there, even if its path changes.

    :param give: give a folder of root to the owner of state_path
    :raises FileNotFoundError: if there is no folder
    :raises OSError: if it cannot be opened, or others may change it
    """
    path = folder()
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        owner, status = Path(CONF.state_path).stat(), os.fstat(directory)
        if give and status.st_uid == 0:
            os.fchown(directory, owner.st_uid, owner.st_gid)
            status = os.fstat(directory)
        is_open_to_others = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        if status.st_uid != owner.st_uid or is_open_to_others:
            raise OSError(
                errno.EINVAL,
                "must belong to the owner of state_path, and no other user may write "
                "to it. Remove it",
                str(path),
            )
        yield directory
    finally:
        os.close(directory)


def _make(name: str, directory: int) -> int:
    """Make an empty file, give it to the folder's owner, and lock it.

    :returns: the descriptor, which has the lock
    """
    owner = os.fstat(directory)
    for _attempt in range(_ATTEMPTS):
        try:
            descriptor = os.open(
                name, _FILE_FLAGS | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=directory
            )
        except OSError as exc:
            raise OSError(exc.errno, exc.strerror, str(folder() / name)) from exc
        if os.geteuid() == 0:
            os.fchown(descriptor, owner.st_uid, owner.st_gid)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        # Before it was locked, nova-compute may have taken it for one that nobody
        # waits for, and removed it.
        if os.fstat(descriptor).st_nlink:
            return descriptor
        os.close(descriptor)
    raise OSError(errno.EAGAIN, "is removed all the time", str(folder() / name))


def _names(directory: int) -> list[str]:
    with os.scandir(directory) as entries:
        return [entry.name for entry in entries]


def _listed(directory: int) -> list[tuple[Request, str]]:
    """Return the requests in a folder with their states."""
    found = []
    for name in _names(directory):
        if match := _NAME.fullmatch(name):
            instance_uuid, request_id, state = match.groups()
            found.append((Request(instance_uuid, request_id, state), state))
    return found


def _is_waited_for(name: str, directory: int) -> bool:
    """Return True if a command has locked a file; otherwise, remove the file."""
    try:
        descriptor = os.open(name, _FILE_FLAGS, dir_fd=directory)
    except OSError as exc:
        if exc.errno in (errno.ELOOP, errno.ENXIO):  # a symlink, a socket
            _remove(name, directory)
            return False
        raise
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # The command that made it meanwhile waits for the lock, and makes another.
        _remove(name, directory)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _rename(request: Request, old: str, new: str, directory: int) -> bool:
    try:
        os.rename(
            request.named(old),
            request.named(new),
            src_dir_fd=directory,
            dst_dir_fd=directory,
        )
    except FileNotFoundError:
        return False
    return True


def _remove(name: str, directory: int) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=directory)
