# SPDX-License-Identifier: Apache-2.0
"""MariaDB: one database a service, tuned for speed and not for keeping."""

from __future__ import annotations

from pathlib import Path

from lab.config import ADDRESS, PORTS
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

#: Nothing here survives the machine, so nothing is flushed.
FAST = (
    "--innodb-flush-log-at-trx-commit=0",
    "--innodb-doublewrite=0",
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

    @property
    def socket(self) -> Path:
        """Where root may talk to it; short, for socket paths are limited to 107."""
        return Path("/run/mariadb.sock")

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
                *(f"--datadir={self.folder}", f"--socket={self.socket}"),
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
        client = ["mariadb", "--no-defaults", f"--socket={self.socket}", "--user=root"]
        wait_until("MariaDB's socket", lambda: self._answers(client), 10)
        self.run(client, stdin="\n".join(statements))

    def _answers(self, client: list[str]) -> bool:
        command = [*client, "--execute", "SELECT 1"]
        return self.lab.sandbox.run(command, check=False).returncode == 0


SERVICES = (MariaDB,)
