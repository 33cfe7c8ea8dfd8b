# SPDX-License-Identifier: Apache-2.0
"""Keystone: who is who, and where everything is."""

from __future__ import annotations

from lab.config import REGION
from lab.openstack import WebService


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
        self._manage("db_sync")
        root = ("--keystone-user", "root", "--keystone-group", "root")
        self._manage("fernet_setup", *root)
        self._manage("credential_setup", *root)
        url = f"{self.lab.url('keystone')}/v3"
        self._manage(
            "bootstrap",
            *("--bootstrap-password", self.lab.secret("admin")),
            *("--bootstrap-region-id", REGION, "--bootstrap-public-url", url),
            *("--bootstrap-internal-url", url, "--bootstrap-admin-url", url),
        )

    def populate(self) -> None:
        self.lab.cloud("identity")

    def _manage(self, *arguments: str) -> None:
        self.command("keystone-manage", *self.config_files(), *arguments)


SERVICES = (Keystone,)
