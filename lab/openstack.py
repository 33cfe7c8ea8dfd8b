# SPDX-License-Identifier: Apache-2.0
"""The base classes of the OpenStack services: configuration, users, web servers."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from lab.accounts import Account
from lab.config import ADDRESS, PORTS, REGION, Lab
from lab.service import Service

#: Nova and Keystone no longer install *-wsgi scripts, so each API has a small uwsgi.
#: Glance needs the limits for chunked input to take the upload of a snapshot.
UWSGI = (
    *("--processes", "1", "--threads", "8", "--enable-threads"),
    *("--lazy-apps", "--need-app", "--die-on-term", "--disable-logging"),
    *("--buffer-size", "65535", "--chunked-input-timeout", "300"),
    *("--chunked-input-limit", "134217728"),
    # uwsgi closes the connection after each answer. Without this header a client uses
    # it once more and gets a reset.
    *("--add-header", "Connection: close"),
)


class OpenStackService(Service):
    """One process of OpenStack, configured from the templates of its project."""

    #: The project. The configuration folder, the user and the port have this name.
    project: ClassVar[str]

    @property
    def account(self) -> Account | None:
        """The user that the service runs as, None if root."""
        return self.lab.account(self.project)

    def folder(self, *names: str) -> Path:
        """Return a folder of the project's data, which belongs to the service's user.

        The folder and those that it is in are created if they are missing.
        """
        account, parts = self.account, (self.project, *names)
        for depth in range(1, len(parts) + 1):
            path = self.lab.data("/".join(parts[:depth]))
            if account is not None and path.stat().st_uid != account.uid:
                os.chown(path, account.uid, account.gid)
                path.chmod(account.mode)
        return path

    def write(self, target: Path, text: str) -> Path:
        """Write ``text`` to ``target``, readable by root and the service's user."""
        super().write(target, text)
        account = self.account
        if account is not None:
            os.chown(target, 0, account.gid)
            target.chmod(0o640)
        return target

    def values(self) -> dict[str, str]:
        """Return the values that the project's templates may use."""
        lab = self.lab
        return {
            "address": ADDRESS,
            "region": REGION,
            "data": str(self.folder()),
            "etc": str(lab.etc(self.project)),
            "bin": str(lab.venv / "bin"),
            "venv": str(lab.venv),
            "transport": lab.transport(),
            "keystone": lab.url("keystone"),
            "memcached": f"{ADDRESS}:{PORTS['memcached']}",
            "user": self.project,
            "password": lab.secret(f"user-{self.project}"),
            "authtoken": authtoken(lab, self.project),
            "privsep": privsep(lab, self.project),
        }

    def environment(self) -> dict[str, str]:
        """Return environment variables for the processes; PATH includes rootwrap."""
        folder = str(self.lab.etc(self.project))
        path = f"{self.lab.venv / 'bin'}:/usr/sbin:/usr/bin:/sbin:/bin"
        return {
            "PATH": path,
            f"OS_{self.project.upper()}_CONFIG_DIR": folder,
            # One malloc arena per thread costs hundreds of MiB over all services.
            "MALLOC_ARENA_MAX": "2",
            "HOME": str(self.lab.data(self.project)),
        }

    def config_files(self) -> list[str]:
        """Return the ``--config-file`` arguments for the project's commands."""
        return [
            "--config-file",
            str(self.lab.etc(self.project) / f"{self.project}.conf"),
        ]

    def command(self, name: str, *arguments: str) -> None:
        """Run a command of the virtual environment.

        :raises LabError: if it fails
        """
        argv = self.as_user([self.lab.bin(name), *arguments])
        self.run(argv, env=self.environment())

    def as_user(self, argv: Sequence[str]) -> list[str]:
        """Return ``argv`` to be run as the service's user."""
        account = self.account
        return list(argv) if account is None else account.become(argv)

    def daemon(self, command: str, files: Sequence[str] | None = None) -> None:
        """Start a command of the virtual environment in the background."""
        argv = [self.lab.bin(command), *(files or self.config_files())]
        self.spawn(self.as_user(argv), env=self.environment())

    def copy_from_venv(self, *names: str) -> None:
        """Copy files or folders from the installed packages to the configuration.

        In them, the folder of the configuration replaces the one in /etc: rootwrap.conf
        says where the filters are.
        """
        source = self.lab.venv / "etc" / self.project
        etc = self.lab.etc(self.project)
        for path in (source / name for name in names):
            for file in sorted(path.iterdir()) if path.is_dir() else [path]:
                text = file.read_text().replace(f"/etc/{self.project}/", f"{etc}/")
                self.write(etc / file.relative_to(source), text)

    def stop(self) -> None:
        # nova-compute may hang after TERM, and a second one would share its queue.
        self.terminate(seconds=5)


class WebService(OpenStackService):
    """An API served by uwsgi.

    No API needs Keystone at its start: each contacts Keystone at the first request.
    """

    #: The module that holds ``application``.
    module: ClassVar[str]
    #: The path that is requested to check whether the API answers.
    probe: ClassVar[str] = "/"
    deadline = 180

    def start(self) -> None:
        argv = [
            self.lab.bin("uwsgi"),
            *("--http-socket", f"{ADDRESS}:{PORTS[self.project]}"),
            *("--module", f"{self.module}:application", *UWSGI),
            *self.uwsgi_arguments(),
        ]
        self.spawn(self.as_user(argv), env=self.environment())

    def uwsgi_arguments(self) -> list[str]:
        """Return more arguments for uwsgi."""
        return []

    def ready(self) -> bool:
        return (
            self.running()
            and listening(self.lab, PORTS[self.project])
            and answers(self.lab, f"{self.lab.url(self.project)}{self.probe}")
        )


def authtoken(lab: Lab, user: str) -> str:
    """Return the options that authenticate the service user ``user``."""
    options = {
        "auth_type": "password",
        "auth_url": lab.url("keystone"),
        "username": user,
        "password": lab.secret(f"user-{user}"),
        "project_name": "service",
        "user_domain_name": "Default",
        "project_domain_name": "Default",
        "region_name": REGION,
    }
    return "\n".join(f"{key} = {value}" for key, value in options.items())


def privsep(lab: Lab, project: str) -> str:
    """Return the option that starts privileged helpers as root."""
    folder = lab.etc(project)
    sudo = "" if lab.account(project) is None else "sudo "
    return (
        f"helper_command = {sudo}{lab.bin('privsep-helper')}"
        f" --config-file {folder / f'{project}.conf'}"
    )


def listening(lab: Lab, port: int) -> bool:
    """Return True if a process in the sandbox listens on TCP ``port``."""
    holder = lab.sandbox.holder()
    process = "self" if lab.sandbox.inside() else str(holder.pid if holder else 0)
    wanted = f":{port:04X}"
    for table in ("tcp", "tcp6"):
        try:
            with Path(f"/proc/{process}/net/{table}").open() as lines:
                rows = [line.split() for line in lines][1:]
        except OSError:
            continue
        # Column 1 is the local address, column 3 the state; 0A is LISTEN.
        if any(row[1].endswith(wanted) and row[3] == "0A" for row in rows):
            return True
    return False


def answers(lab: Lab, url: str) -> bool:
    """Return True if the web server at ``url`` answers without a server error."""
    probe = [sys.executable, "-m", "lab.probe", url]
    path: Mapping[str, str] = {"PYTHONPATH": str(lab.repository)}
    return lab.sandbox.run(probe, env=path, check=False, seconds=30).returncode == 0
