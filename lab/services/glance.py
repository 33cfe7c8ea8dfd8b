# SPDX-License-Identifier: Apache-2.0
"""Glance, with its images in files."""

from __future__ import annotations

from lab.openstack import WebService
from lab.services.mariadb import migrate_once


class Glance(WebService):
    """The image API."""

    name = "glance"
    project = "glance"
    module = "glance.wsgi.api"
    probe = "/versions"
    requires = ("mariadb",)

    def configure(self) -> None:
        values = self.values() | {"database": self.lab.database("glance")}
        self.render("glance.conf", self.lab.etc("glance") / "glance-api.conf", values)
        self.copy_from_venv("glance-api-paste.ini")
        for folder in ("images", "staging", "tasks"):
            self.folder(folder)

    def config_files(self) -> list[str]:
        return ["--config-file", str(self.lab.etc("glance") / "glance-api.conf")]

    def prepare(self) -> None:
        arguments = (*self.config_files(), "db_sync")
        migrate_once(
            self.lab, "glance", lambda: self.command("glance-manage", *arguments)
        )
        # As the manual says. Definitions that are there already stay as they are.
        load = (*self.config_files(), "db_load_metadefs")
        metadefs = self.lab.repository / "etc" / "stable_rescue" / "metadefs"
        self.command("glance-manage", *load, str(metadefs))


SERVICES = (Glance,)
