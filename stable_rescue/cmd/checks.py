# SPDX-License-Identifier: Apache-2.0
"""The checks of `stable-rescue-status upgrade check`.

They need neither a database nor root, and change nothing. What only root or the user of
nova-compute may read is a warning for others.
"""

import functools
import importlib
import os
import stat
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import nova
import os_vif
from nova import conf as nova_conf
from oslo_config import cfg
from oslo_upgradecheck.upgradecheck import Code, Result, UpgradeCommands
from oslo_utils import units

from stable_rescue import activation, conf, exception, nova_internals
from stable_rescue.storage import memory_dump, store
from stable_rescue.virt import preparation, startup

CONF = nova_conf.CONF

conf.register_opts(CONF)

#: The folders that pip and distributions install packages to.
_SITE_FOLDERS = ("site-packages", "dist-packages")
_MAX_NAMES = 5


def _file_of_the_driver() -> str:
    """Return the file that sets compute_driver: the last one that does so wins.

    Debian's nova-compute.conf sets it as well.
    """
    location = CONF.get_location("compute_driver")
    if location is None or location.location is not cfg.Locations.user:
        return "nova.conf"
    return str(location.detail)


def _reads_files(check: Callable[["Checks"], Result]) -> Callable[["Checks"], Result]:
    """Return a check that is a warning if it may not read a file."""

    @functools.wraps(check)
    def checked(self: "Checks") -> Result:
        try:
            return check(self)
        except OSError as exc:
            return Result(
                Code.WARNING,
                f"{exc.filename} cannot be read: {exc.strerror}. Run the check as root "
                "or as the user of nova-compute.",
            )

    return checked


class Checks(UpgradeCommands):
    """Checks of a compute host, in the order in which they are printed."""

    display_title = "stable_rescue"

    def _driver(self) -> Result:
        """Activate the driver in this process, as nova-compute does."""
        if CONF.compute_driver != activation.COMPUTE_DRIVER:
            return Result(
                Code.WARNING,
                f"compute_driver is {CONF.compute_driver}, so stable_rescue does "
                f"nothing on this host. Set [DEFAULT] compute_driver = "
                f"{activation.COMPUTE_DRIVER} in {_file_of_the_driver()}.",
            )
        os_vif.initialize()
        try:
            importlib.import_module(activation.MODULE)
        except ImportError as exc:
            return Result(
                Code.FAILURE,
                f"nova-compute cannot load the driver: {exc}. Install stable-rescue in "
                f"the environment of nova-compute; this check ran in {sys.prefix}.",
            )
        try:
            activation.install_manager()
        except (ImportError, LookupError) as exc:
            return Result(Code.FAILURE, activation.MANAGER_NOT_INSTALLED % exc)
        return Result(Code.SUCCESS)

    def _nova(self) -> Result:
        return _of_warnings(startup.untested_nova(nova_internals.nova_version()))

    def _host(self) -> Result:
        try:
            versions = nova_internals.versions_without_driver()
        except Exception as exc:  # noqa: BLE001 - libvirt's, if it can be imported
            return Result(
                Code.WARNING,
                f"The versions of libvirt and QEMU are not known: {exc}. Run the check "
                "on the compute host while libvirt runs.",
            )
        return _of_warnings(startup.untested_host(versions))

    def _virt_type(self) -> Result:
        if CONF.libvirt.virt_type in preparation.VIRT_TYPES:
            return Result(Code.SUCCESS)
        return Result(
            Code.FAILURE,
            f"[libvirt] virt_type is {CONF.libvirt.virt_type}, with which every stable "
            f"rescue is refused. Use {' or '.join(preparation.VIRT_TYPES)}, or "
            "compute_driver = libvirt.LibvirtDriver.",
        )

    def _options(self) -> Result:
        wrong = startup.wrong_options()
        if not wrong:
            return Result(Code.SUCCESS)
        problems = "; ".join(map(str, wrong))
        if all(each.has_default for each in wrong):
            text = f"{problems}. The default is used. Correct the value."
            return Result(Code.WARNING, text)
        text = f"{problems}. nova-compute does not start. Correct the value."
        return Result(Code.FAILURE, text)

    def _instances_path(self) -> Result:
        path = Path(CONF.instances_path)
        if not path.is_dir():
            return Result(
                Code.FAILURE,
                f"{path} is not a directory. Create it for the user of nova-compute.",
            )
        if path.stat().st_mode & stat.S_IWOTH:
            return Result(
                Code.FAILURE,
                f"Every user can write to {path}, and so decide what a server is "
                f"restored to. Run chmod o-w {path}.",
            )
        if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
            return Result(
                Code.WARNING,
                f"The user with id {os.geteuid()} cannot write to {path}. If "
                "nova-compute runs as this user, every rescue is refused: change the "
                "owner of the directory. Otherwise run the check as the user of "
                "nova-compute.",
            )
        return Result(Code.SUCCESS)

    def _state_path(self) -> Result:
        """Check who owns the directory of the requests (storage/requests.py)."""
        path = Path(CONF.state_path)
        if CONF.state_path == CONF.pybasedir or not path.is_dir():
            return Result(
                Code.WARNING,
                f"state_path is {path}, where stable-rescue recover cannot leave a "
                "request. Set [DEFAULT] state_path to a directory that belongs to the "
                "user of nova-compute, such as /var/lib/nova.",
            )
        if os.geteuid() not in (0, path.stat().st_uid):
            return Result(
                Code.WARNING,
                f"{path} does not belong to the user with id {os.geteuid()}. If "
                "nova-compute runs as this user, it finds no request of stable-rescue "
                "recover: change the owner of the directory. Otherwise run the check "
                "as the user of nova-compute.",
            )
        return Result(Code.SUCCESS)

    @_reads_files
    def _memory_dump_path(self) -> Result:
        """Check who can write to the folder, and count what nothing removes."""
        if not CONF.stable_rescue.memory_dump_path:
            return Result(Code.SUCCESS)
        path = Path(CONF.stable_rescue.memory_dump_path)
        refused = "every rescue with hw_rescue_memory=dump is refused"
        if not path.is_dir():
            return Result(
                Code.FAILURE,
                f"[stable_rescue] memory_dump_path is {path}, which is no directory, "
                f"so {refused}. The user of nova-compute needs it, with mode 0700.",
            )
        status = path.stat()
        if status.st_mode & memory_dump.WRITABLE_BY_OTHERS:
            return Result(
                Code.FAILURE,
                f"Other users can write to {path}, so {refused}. "
                f"Run chmod go-w {path}.",
            )
        if os.geteuid() not in (0, status.st_uid):
            return Result(
                Code.WARNING,
                f"{path} does not belong to the user with id {os.geteuid()}. If "
                f"nova-compute runs as this user, {refused}: change the owner of the "
                "directory. Otherwise run the check as the user of nova-compute.",
            )
        sizes = [dump.size_bytes for dump in memory_dump.dumps()]
        if not sizes:
            return Result(Code.SUCCESS)
        return Result(
            Code.SUCCESS,
            f"{path} has {len(sizes)} memory dumps of {sum(sizes) / units.Gi:.1f} GiB, "
            "which hold secrets of servers and are never removed unasked. "
            "stable-rescue clean lists the dumps of deleted servers.",
        )

    @_reads_files
    def _nova_packages(self) -> Result:
        """Look for what hides the driver, such as the rest of another installation."""
        used = Path(nova.__file__).parent
        hiding = list((used / "virt").glob("stable_rescue*"))
        if hiding:
            return Result(
                Code.FAILURE,
                f"Python imports {_names(hiding)} in place of stable_rescue's driver. "
                "No release of stable_rescue installs a file there: remove it.",
            )
        folders = (Path(folder) for folder in sys.path)
        packages = (each / "nova" for each in folders if each.name in _SITE_FOLDERS)
        others = [
            each for each in packages if each.is_dir() and not each.samefile(used)
        ]
        if others:
            return Result(
                Code.WARNING,
                f"Nova is imported from {used}, and there is also {_names(others)}. "
                "Remove the one that does not belong there.",
            )
        return Result(Code.SUCCESS)

    @_reads_files
    def _stock_rescues(self) -> Result:
        rescued = [
            directory.name
            for directory in store.instance_directories()
            if (files := store.Store(str(directory))).has_original()
            and not files.has_record()
        ]
        if not rescued:
            return Result(Code.SUCCESS)
        return Result(
            Code.WARNING,
            f"Nova's driver has rescued {_names(rescued)}. StableRescueDriver can "
            "unrescue such a server, but starts it even if it was stopped before. "
            "Unrescue it before the upgrade if that matters.",
        )

    @_reads_files
    def _records(self) -> Result:
        unknown, open_to_all = [], []
        for directory in store.instance_directories():
            files = store.Store(str(directory))
            try:
                files.read()
            except exception.InvalidRecord as exc:
                unknown.append(f"{directory.name} ({exc})")
            if files.is_open_to_others():
                open_to_all.append(directory.name)
        if unknown:
            return Result(
                Code.FAILURE,
                f"This version cannot read the rescue records of {_names(unknown)}. If "
                "a newer version wrote them, unrescue the servers with that version.",
            )
        if open_to_all:
            return Result(
                Code.WARNING,
                "Other users can read the rescue records, and the secrets in them, of "
                f"{_names(open_to_all)}. Run chmod 0600 on stable_rescue.json.",
            )
        return Result(Code.SUCCESS)

    _upgrade_checks = (
        ("Driver and compute manager", _driver),
        ("Release of Nova", _nova),
        ("Versions of libvirt and QEMU", _host),
        ("Virtualization type", _virt_type),
        ("Options", _options),
        ("Permissions of instances_path", _instances_path),
        ("Owner of state_path", _state_path),
        ("Folder of memory dumps", _memory_dump_path),
        ("Packages of Nova", _nova_packages),
        ("Servers rescued by Nova's driver", _stock_rescues),
        ("Rescue records", _records),
    )


def _of_warnings(warnings: Sequence[str]) -> Result:
    if not warnings:
        return Result(Code.SUCCESS)
    return Result(Code.WARNING, ". ".join(warnings) + ".")


def _names(items: Iterable[object]) -> str:
    """Return the first items as text, and the number of the others."""
    names = [str(item) for item in items]
    shown = ", ".join(names[:_MAX_NAMES])
    more = len(names) - _MAX_NAMES
    return f"{shown} and {more} more" if more > 0 else shown
