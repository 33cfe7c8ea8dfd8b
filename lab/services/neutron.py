# SPDX-License-Identifier: Apache-2.0
"""Neutron: the API and the RPC server; ovs.py has Open vSwitch and the agent."""

from __future__ import annotations

from lab.openstack import OpenStackService, WebService, authtoken
from lab.services.mariadb import migrate_once

ML2 = "ml2.conf"


class _Neutron(OpenStackService):
    project = "neutron"

    def config_files(self) -> list[str]:
        return [
            *super().config_files(),
            *("--config-file", str(self.lab.etc("neutron") / ML2)),
        ]


class NeutronDatabase(_Neutron):
    """Writes the configuration and creates the database; has no process."""

    name = "neutron-database"
    requires = ("mariadb",)

    def configure(self) -> None:
        values = self.values() | {
            "database": self.lab.database("neutron"),
            "nova": authtoken(self.lab, "nova"),
        }
        for name in ("neutron.conf", ML2):
            self.render(name, self.lab.etc("neutron") / name, values)
        self.copy_from_venv("api-paste.ini", "rootwrap.conf", "rootwrap.d")
        self.folder("lock")

    def prepare(self) -> None:
        arguments = (*self.config_files(), "upgrade", "heads")
        migrate_once(
            self.lab,
            "neutron",
            lambda: self.command("neutron-db-manage", *arguments),
        )

    def ready(self) -> bool:
        return True


class NeutronApi(WebService):
    """The network API."""

    name = "neutron-api"
    project = "neutron"
    module = "neutron.wsgi.api"
    requires = ("neutron-database", "rabbitmq", "memcached")

    def environment(self) -> dict[str, str]:
        files = {"OS_NEUTRON_CONFIG_FILES": f"neutron.conf;{ML2}"}
        return super().environment() | files


class NeutronRpc(_Neutron):
    """Answers the agents."""

    name = "neutron-rpc"
    requires = ("neutron-database", "rabbitmq")

    def start(self) -> None:
        self.daemon("neutron-rpc-server")


SERVICES = (NeutronDatabase, NeutronApi, NeutronRpc)
