# SPDX-License-Identifier: Apache-2.0
"""Requests of an operator's command to the nova-compute of the same host.

A request is a file whose name says what is asked: INSTANCE_REQUEST.STATE. Each step
renames the file. The command locks its file for as long as it waits. The kernel
releases the lock however the command ends, and nova-compute removes a file that nobody
waits for: a request cannot become effective later.

The file of a recovery is empty, so a full disk stops neither the request nor its
answer. The file of a plan holds the details of the request, and later the details of
the answer. Both are JSON, and are complete before the file is renamed to their state.
Only the owner of the folder can read them.

The folder is in state_path and has the host in its name, because hosts may share
state_path as well as instances_path.
"""

import contextlib
import errno
import fcntl
import json
import os
import re
import stat
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from nova import conf as nova_conf

CONF = nova_conf.CONF

#: What is asked for: a recovery, what a recovery would do, or the plan of a rescue.
RECOVER, DRY_RUN, PLAN = "recover", "dry-run", "plan"
#: nova-compute works on the request.
TAKEN = "taken"
#: nova-compute was started anew while it worked on the request.
RESTARTED = "restarted"

_NAME = re.compile(
    r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})_([0-9a-f]{32})\.(.+)"
)
_FILE_FLAGS = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK
# The command still writes the details.
_NEW = "new"
# More than the details of any request, far less than the memory of a host.
_MAX_REQUEST_BYTES = 2**20
_ATTEMPTS = 5


@dataclass(frozen=True)
class Request:
    """A request for one instance.

    ``asked`` is ``RECOVER``, ``DRY_RUN`` or ``PLAN``. The name of a file that is not
    waiting does not say, so its request has the state instead.
    """

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
    def ask(
        cls, instance_uuid: str, asked: str, details: dict[str, Any] | None = None
    ) -> Iterator[Self]:
        """Make a request; withdraw it at the end of the block.

        :param details: what nova-compute has to know beside the instance's UUID
        :raises OSError: if that is not possible, or others may change the folder
        """
        _make_folder()
        with _opened_folder(give=os.geteuid() == 0) as directory:
            request = Request(instance_uuid, uuid.uuid4().hex, asked)
            first = asked if details is None else _NEW
            descriptor = _make(request.named(first), directory)
            question = cls(request, descriptor, directory)
            try:
                if details is not None:
                    _write(descriptor, details)
                    _rename(request, _NEW, asked, directory)
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

    def details(self) -> dict[str, Any]:
        """Return the details of the answer; {} if it has none.

        Call it when :meth:`state` has returned an answer.

        :raises ValueError: if these are no JSON
        """
        return _read(self._descriptor)

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
                if is_waited_for and state in (RECOVER, DRY_RUN, PLAN):
                    asked.append(request)
    return asked


def take(request: Request) -> bool:
    """Take a request; return False if it was withdrawn.

    :raises OSError: if the file cannot be renamed
    """
    with _opened_folder() as directory:
        return _rename(request, request.asked, TAKEN, directory)


def details_of(request: Request) -> dict[str, Any]:
    """Return the details of a request that was taken; {} if it has none.

    :raises OSError: if the file cannot be read, or nobody waits any more
    :raises ValueError: if these are no JSON
    """
    with (
        _opened_folder() as directory,
        _opened(request.named(TAKEN), directory) as descriptor,
    ):
        return _read(descriptor, _MAX_REQUEST_BYTES)


def answer(request: Request, state: str, details: dict[str, Any] | None = None) -> None:
    """Answer a request that was taken; nothing happens if nobody waits any more.

    :param details: replace the details of the request
    :raises OSError: if the file cannot be written or renamed
    """
    with contextlib.suppress(FileNotFoundError), _opened_folder() as directory:
        name = request.named(TAKEN)
        # A secret must not be written to a file that nobody removes after reading.
        if details is not None and _is_waited_for(name, directory):
            with _opened(name, directory) as descriptor:
                _write(descriptor, details)
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


@contextlib.contextmanager
def _opened(name: str, directory: int) -> Iterator[int]:
    descriptor = os.open(name, _FILE_FLAGS, dir_fd=directory)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _write(descriptor: int, details: dict[str, Any]) -> None:
    """Replace what a file holds.

    :raises OSError: if the disk is full
    """
    data, offset = json.dumps(details).encode(), 0
    try:
        os.ftruncate(descriptor, 0)
        while offset < len(data):
            offset += os.pwrite(descriptor, data[offset:], offset)
    except OSError as exc:
        raise OSError(exc.errno, exc.strerror, str(folder())) from exc


def _read(descriptor: int, limit: int | None = None) -> dict[str, Any]:
    """Return what a file holds, {} if it is empty.

    :param limit: how many bytes are read at most
    :raises ValueError: if it is no JSON object
    """
    size = os.fstat(descriptor).st_size
    data = os.pread(descriptor, size if limit is None else min(size, limit), 0)
    content = json.loads(data) if data else {}
    if not isinstance(content, dict):
        raise ValueError("not a JSON object")
    return content


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
