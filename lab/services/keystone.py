# SPDX-License-Identifier: Apache-2.0
"""Keystone: users, tokens and the service catalog."""

from __future__ import annotations

import base64
import os
import secrets
from pathlib import Path

from lab.config import REGION
from lab.openstack import WebService
from lab.services.mariadb import migrate_once


class Keystone(WebService):
    """The identity API; its populate step registers all other services."""

    name = "keystone"
    project = "keystone"
    module = "keystone.wsgi.api"
    probe = "/v3"
    requires = ("mariadb", "memcached")
    prepare_requires = ("mariadb",)

    def configure(self) -> None:
        values = self.values() | {"database": self.lab.database("keystone")}
        self.render("keystone.conf", self.lab.etc("keystone") / "keystone.conf", values)

    def prepare(self) -> None:
        migrate_once(self.lab, "keystone", lambda: self._manage("db_sync"))
        for repository in ("fernet-keys", "credential-keys"):
            self._create_keys(self.lab.etc("keystone") / repository)
        url = f"{self.lab.url('keystone')}/v3"
        self._manage(
            "bootstrap",
            *("--bootstrap-region-id", REGION, "--bootstrap-public-url", url),
            *("--bootstrap-internal-url", url, "--bootstrap-admin-url", url),
        )

    def environment(self) -> dict[str, str]:
        # Not as an argument: every user sees arguments, and error messages show them.
        password = {"OS_BOOTSTRAP_PASSWORD": self.lab.secret("admin")}
        return super().environment() | password

    def populate(self) -> None:
        self.lab.cloud("identity")

    def _create_keys(self, repository: Path) -> None:
        """Do the same as fernet_setup and credential_setup, which take four seconds."""
        for name in ("0", "1"):  # the staged and the primary key
            key = base64.urlsafe_b64encode(secrets.token_bytes(32))
            self.write(repository / name, key.decode())
        repository.chmod(0o700)
        if self.account is not None:
            os.chown(repository, self.account.uid, self.account.gid)

    def _manage(self, *arguments: str) -> None:
        self.command("keystone-manage", *self.config_files(), *arguments)


SERVICES = (Keystone,)
