# SPDX-License-Identifier: Apache-2.0
"""MariaDB: one database for each service, fast and without flushes to disk."""

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

#: Root may connect here; /run is private to the sandbox.
SOCKET = "/run/mariadb.sock"
CLIENT = ("mariadb", "--no-defaults", f"--socket={SOCKET}", "--user=root")

#: Nothing is flushed: a commit survives a kill -9 but not a crash of the machine.
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
        """The folder with the data."""
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
    """Run SQL statements in ``database``.

    :raises LabError: if a statement fails
    """
    lab.sandbox.run([*CLIENT, database], stdin=statements)


def dump(lab: Lab, database: str) -> str:
    """Return the SQL statements that create ``database`` with its content."""
    options = ("--no-defaults", f"--socket={SOCKET}", "--user=root")
    return lab.sandbox.run(["mariadb-dump", *options, database]).stdout


def migrate_once(lab: Lab, database: str, migrate: Callable[[], None]) -> None:
    """Create the schema in the empty ``database``.

    ``migrate`` runs all migrations of the service, which takes most of the time to
    bring a lab up. So the schema is cached as long as the virtual environment is the
    same. A schema contains no secrets.
    """
    environment = (lab.venv / ENVIRONMENT_MARKER).stat().st_mtime_ns
    cached = lab.cache / f"{database}-{lab.options.nova}-{environment}.sql"
    if cached.exists():
        execute(lab, database, cached.read_text())
        return
    migrate()
    for old in lab.cache.glob(f"{database}-{lab.options.nova}-*.sql"):
        old.unlink()
    temporary = cached.with_suffix(".new")
    temporary.write_text(dump(lab, database))
    temporary.replace(cached)


SERVICES = (MariaDB,)
