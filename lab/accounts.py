# SPDX-License-Identifier: Apache-2.0
"""The users that the services run as, as Debian's packages make them.

The sandbox has a private /etc. Users and sudo's rules are added there, and the machine
never has them.
"""

from __future__ import annotations

import pwd
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.sandbox import Sandbox


@dataclass(frozen=True)
class Account:
    """A user and the group of the same name.

    ``reserved`` is the uid and gid if the machine has no such user. ``groups`` are the
    groups of other packages that the user is in. ``sudo`` lists what the user may run
    as root, in the syntax of sudoers, with ``{bin}`` and ``{etc}`` in place of /usr/bin
    and the configuration folder.
    """

    name: str
    reserved: int
    groups: tuple[str, ...] = ()
    sudo: tuple[str, ...] = ()
    #: The mode of the folder below data.
    mode: int = 0o750

    @property
    def uid(self) -> int:
        """The user's id, the same inside and outside the sandbox."""
        try:
            return pwd.getpwnam(self.name).pw_uid
        except KeyError:
            return self.reserved

    @property
    def gid(self) -> int:
        """The id of the user's main group."""
        try:
            return pwd.getpwnam(self.name).pw_gid
        except KeyError:
            return self.reserved

    def become(self, argv: Sequence[str]) -> list[str]:
        """Return ``argv`` to be run as this user by a process of root."""
        user, group = f"--reuid={self.name}", f"--regid={self.name}"
        return ["setpriv", user, group, "--init-groups", "--", *argv]


#: nova, cinder and glance have the numbers that Debian reserves for them. The rules
#: for sudo come from nova-common, cinder-common and neutron-common, except that Cinder
#: and Neutron of Debian start privsep-helper by rootwrap.
ACCOUNTS = {
    account.name: account
    for account in (
        Account(
            "nova",
            64060,
            groups=("libvirt",),  # by nova-compute-kvm
            sudo=(
                "{bin}/nova-rootwrap {etc}/rootwrap.conf *",
                "{bin}/privsep-helper *",
            ),
            mode=0o755,  # QEMU's user has to reach the disks
        ),
        Account(
            "cinder",
            64061,
            sudo=(
                "{bin}/cinder-rootwrap {etc}/rootwrap.conf *",
                "{bin}/privsep-helper *",
            ),
        ),
        Account("glance", 64062),
        Account("keystone", 64070),
        Account("placement", 64071),
        Account(
            "neutron",
            64072,
            sudo=(
                "{bin}/neutron-rootwrap {etc}/rootwrap.conf *",
                "{bin}/neutron-rootwrap-daemon {etc}/rootwrap.conf",
                "{bin}/privsep-helper *",
            ),
        ),
    )
}


def sudoers(account: Account, bin_folder: Path, etc: Path) -> str:
    """Return the content of a file in /etc/sudoers.d; "" if nothing is allowed."""
    name = account.name
    # With a virtual environment, the services call rootwrap by its name alone.
    path = f"{bin_folder}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    lines = [f"Defaults:{name} !requiretty", f'Defaults:{name} secure_path="{path}"']
    for rule in account.sudo:
        allowed = rule.format(bin=bin_folder, etc=etc)
        lines.append(f"{name} ALL = (root) NOPASSWD: {allowed}")
    return "\n".join(lines) + "\n" if account.sudo else ""


def create(sandbox: Sandbox, bin_folder: Path, etc: Path, data: Path) -> None:
    """Add the users to the sandbox's /etc, and what sudo allows them; idempotent.

    :param bin_folder: the folder of OpenStack's commands
    :param etc: the folder of the projects' configuration folders
    :param data: the folder of the projects' data folders
    :raises LabError: if a user cannot be added
    """
    for account in ACCOUNTS.values():
        name, number = account.name, str(account.uid)
        if sandbox.run(["getent", "passwd", name], check=False).returncode:
            sandbox.run(["groupadd", "--gid", number, name])
            sandbox.run(
                [
                    *("useradd", "--no-log-init", "--no-create-home"),
                    *("--uid", number, "--gid", name, "--shell", "/usr/sbin/nologin"),
                    *("--home-dir", str(data / name), name),
                ]
            )
        for group in account.groups:
            sandbox.run(["usermod", "--append", "--groups", group, name])
        rules = sudoers(account, bin_folder, etc / name)
        if rules:
            target = f"/etc/sudoers.d/{name}-common"
            install = ["install", "--mode=0440", "/dev/stdin", target]
            sandbox.run(install, stdin=rules)


def closed_folder(*paths: Path) -> Path | None:
    """Return a folder on the way to a path that other users cannot enter, if any."""
    folders = (folder for path in paths for folder in (path, *path.parents))
    closed = (f for f in folders if f.is_dir() and not f.stat().st_mode & 0o001)
    return next(closed, None)
