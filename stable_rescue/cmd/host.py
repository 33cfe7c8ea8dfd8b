# SPDX-License-Identifier: Apache-2.0
"""What the commands on a compute host share: configuration, libvirt, and errors."""

import argparse
import contextlib
import os
import pwd
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import libvirt
from nova import conf as nova_conf
from oslo_config import cfg

from stable_rescue import conf, nova_internals
from stable_rescue.cmd.exits import (
    NO_PERMISSION,
    UNAVAILABLE,
    WRONG_CONFIGURATION,
    CommandError,
)

CONF = nova_conf.CONF
Result = TypeVar("Result")

conf.register_opts(CONF)


def run(
    command: Callable[[argparse.Namespace, Any], Result], options: argparse.Namespace
) -> Result:
    """Configure, connect to libvirt, and run a command with this connection.

    :raises CommandError: if the configuration is wrong, libvirt does not answer, or a
        file cannot be read
    """
    _configure(options)
    try:
        with _connection() as connection:
            return command(options, connection)
    except OSError as exc:
        raise file_error(exc) from exc
    except cfg.ConfigFileValueError as exc:
        raise CommandError(WRONG_CONFIGURATION, str(exc)) from exc


def file_error(error: OSError) -> CommandError:
    """Return the error of a command that cannot use a file."""
    # Some libraries open files by a name in bytes.
    name = os.fsdecode(error.filename) if error.filename else ""
    reason = f"{name}: {error.strerror}" if name else str(error)
    if not isinstance(error, PermissionError):
        return CommandError(UNAVAILABLE, reason)
    if name:
        owner = _owner(Path(name))
        users = "root" if owner == "root" else f"root or as {owner}"
        reason += f"; run the command as {users}"
    return CommandError(NO_PERMISSION, reason)


def _configure(options: argparse.Namespace) -> None:
    """Read nova-compute's configuration files, or the files that the options name.

    :raises CommandError: if one cannot be read or parsed
    """
    arguments = [f"--config-file={each}" for each in options.config_files]
    arguments += [f"--config-dir={each}" for each in options.config_dirs]
    try:
        CONF(arguments, project="nova", prog="nova-compute")
    except cfg.ConfigFilesPermissionDeniedError as exc:
        denied = PermissionError(
            13, "Permission denied", next(iter(exc.config_files), None)
        )
        raise file_error(denied) from exc
    except cfg.Error as exc:
        text = " ".join(str(exc).split())
        raise CommandError(WRONG_CONFIGURATION, text) from exc


@contextlib.contextmanager
def _connection() -> Iterator[Any]:
    """Connect to libvirt without the right to change anything.

    :raises CommandError: if libvirt does not answer
    """
    # The exceptions have the same text.
    libvirt.registerErrorHandler(lambda *_: None, None)
    try:
        with nova_internals.read_only_connection() as connection:
            yield connection
    except libvirt.libvirtError as exc:
        raise CommandError(
            UNAVAILABLE,
            f"libvirt does not answer: {exc}. Run the command on the compute host, as "
            "root or as the user of nova-compute, while libvirt runs",
        ) from exc


def _owner(path: Path) -> str:
    """Return the user who owns a path, or its first parent that may be looked at."""
    for each in (path, *path.parents):
        with contextlib.suppress(OSError):
            user = each.stat().st_uid
            try:
                return pwd.getpwuid(user).pw_name
            except KeyError:
                return f"the user with id {user}"
    return f"the user with id {os.geteuid()}"
