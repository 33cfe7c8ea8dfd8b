# SPDX-License-Identifier: Apache-2.0
"""MariaDB: one database a service, tuned for speed and not for keeping."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lab.config import ADDRESS, ENVIRONMENT_MARKER, PORTS, Lab
from lab.openstack import listening
from lab.service import Service, wait_until

DATABASES = (
    "keystone",
    "glance",
    "placement",
    "nova_api",
    "nova",
    "nova_cell0",
    "neutron",
    "cinder",
)

#: Where root may talk to it, in the sandbox's /run.
SOCKET = "/run/mariadb.sock"
CLIENT = ("mariadb", "--no-defaults", f"--socket={SOCKET}", "--user=root")

#: What is committed survives a kill -9, but not the machine: nothing is flushed.
FAST = (
    "--innodb-flush-log-at-trx-commit=2",
    "--innodb-buffer-pool-size=64M",
    "--innodb-log-file-size=64M",
    "--skip-log-bin",
    "--performance-schema=OFF",
    "--skip-name-resolve",
    "--max-connections=400",
)


class MariaDB(Service):
    """The databases of all services."""

    name = "mariadb"

    @property
    def folder(self) -> Path:
        """Where its data lies."""
        return self.lab.data("mariadb")

    def prepare(self) -> None:
        self.run(
            [
                "mariadb-install-db",
                *("--no-defaults", "--user=root", f"--datadir={self.folder}"),
                *("--skip-test-db", "--auth-root-authentication-method=socket"),
            ]
        )

    def start(self) -> None:
        self.spawn(
            [
                *("mariadbd", "--no-defaults", "--user=root"),
                *(f"--datadir={self.folder}", f"--socket={SOCKET}"),
                f"--pid-file={self.folder}/mariadb.pid",
                *(f"--bind-address={ADDRESS}", f"--port={PORTS['mariadb']}"),
                *FAST,
            ]
        )

    def ready(self) -> bool:
        return self.running() and listening(self.lab, PORTS["mariadb"])

    def populate(self) -> None:
        user = f"'lab'@'{ADDRESS}'"
        password = self.lab.secret("mariadb")
        statements = [f"CREATE USER IF NOT EXISTS {user} IDENTIFIED BY '{password}';"]
        for database in DATABASES:
            statements += [
                f"CREATE DATABASE IF NOT EXISTS {database} CHARACTER SET utf8mb4;",
                f"GRANT ALL ON {database}.* TO {user};",
            ]
        wait_until("MariaDB's socket", self._answers, 10)
        execute(self.lab, "mysql", "\n".join(statements))

    def _answers(self) -> bool:
        command = [*CLIENT, "--execute", "SELECT 1"]
        return self.lab.sandbox.run(command, check=False).returncode == 0


def execute(lab: Lab, database: str, statements: str) -> None:
    """Run SQL statements in ``database``; raise LabError if one fails."""
    lab.sandbox.run([*CLIENT, database], stdin=statements)


def dump(lab: Lab, database: str) -> str:
    """Return the statements that make ``database`` as it is."""
    options = ("--no-defaults", f"--socket={SOCKET}", "--user=root")
    return lab.sandbox.run(["mariadb-dump", *options, database]).stdout


def synchronised(lab: Lab, database: str, migrate: Callable[[], None]) -> None:
    """Bring the empty ``database`` to its service's schema.

    ``migrate`` runs every migration there ever was, which takes most of a bring-up, so
    what it makes is kept for as long as the virtual environment is the same. Nothing
    secret is in a schema.
    """
    environment = (lab.venv / ENVIRONMENT_MARKER).stat().st_mtime_ns
    kept = lab.cache / f"{database}-{lab.options.nova}-{environment}.sql"
    if kept.exists():
        execute(lab, database, kept.read_text())
        return
    migrate()
    for old in lab.cache.glob(f"{database}-{lab.options.nova}-*.sql"):
        old.unlink()
    temporary = kept.with_suffix(".new")
    temporary.write_text(dump(lab, database))
    temporary.replace(kept)


SERVICES = (MariaDB,)
