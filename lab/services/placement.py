# SPDX-License-Identifier: Apache-2.0
"""Placement: the inventories and allocations of the host."""

from __future__ import annotations

from lab.openstack import WebService
from lab.services.mariadb import migrate_once


class Placement(WebService):
    """The placement API."""

    name = "placement"
    project = "placement"
    module = "placement.wsgi.api"
    requires = ("mariadb",)

    def configure(self) -> None:
        values = self.values() | {"database": self.lab.database("placement")}
        target = self.lab.etc("placement") / "placement.conf"
        self.render("placement.conf", target, values)

    def prepare(self) -> None:
        arguments = (*self.config_files(), "db", "sync")
        migrate_once(
            self.lab, "placement", lambda: self.command("placement-manage", *arguments)
        )


SERVICES = (Placement,)
