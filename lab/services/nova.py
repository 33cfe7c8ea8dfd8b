# SPDX-License-Identifier: Apache-2.0
"""Nova: unmodified, but for the compute driver that ``--driver`` names."""

from __future__ import annotations

from lab.openstack import OpenStackService, WebService
from lab.service import VolumeBackend, ini

COMPUTE_CONF = "nova-compute.conf"


class _Nova(OpenStackService):
    project = "nova"


class NovaDatabase(_Nova):
    """No process of its own: writes nova.conf and creates the databases."""

    name = "nova-database"
    requires = ("mariadb",)

    def configure(self) -> None:
        lab = self.lab
        values = self.values() | {
            "api_database": lab.database("nova_api"),
            "database": lab.database("nova"),
            "placement": authtoken_of(self, "placement"),
            "neutron": authtoken_of(self, "neutron"),
            "cinder": authtoken_of(self, "cinder"),
            "instances": str(lab.data("nova/instances")),
            "metadata_secret": lab.secret("metadata"),
        }
        self.render("nova.conf", lab.etc("nova") / "nova.conf", values)
        # nova-api looks for it beside nova.conf only.
        self.copy_from_venv("api-paste.ini", "rootwrap.conf", "rootwrap.d")
        lab.data("nova/lock")

    def prepare(self) -> None:
        self._manage("api_db", "sync")
        cell0 = self.lab.database("nova_cell0")
        self._manage("cell_v2", "map_cell0", "--database_connection", cell0)
        self._manage("db", "sync")
        self._manage("cell_v2", "create_cell", "--name", "cell1")

    def ready(self) -> bool:
        return True

    def _manage(self, *arguments: str) -> None:
        self.command("nova-manage", *self.config_files(), *arguments)


class NovaApi(WebService):
    """The compute API."""

    name = "nova-api"
    project = "nova"
    module = "nova.wsgi.osapi_compute"
    requires = ("nova-database", "rabbitmq", "keystone", "memcached")

    def environment(self) -> dict[str, str]:
        files = {"OS_NOVA_CONFIG_FILES": "api-paste.ini;nova.conf"}
        return super().environment() | files


class NovaConductor(_Nova):
    """Talks to the databases for nova-compute."""

    name = "nova-conductor"
    requires = ("nova-database", "rabbitmq", "keystone")

    def start(self) -> None:
        self.daemon("nova-conductor")


class NovaScheduler(_Nova):
    """Chooses the one host there is."""

    name = "nova-scheduler"
    requires = ("nova-database", "rabbitmq", "placement")

    def start(self) -> None:
        self.daemon("nova-scheduler")


class NovaCompute(_Nova):
    """nova-compute, with the driver under test."""

    name = "nova-compute"
    requires = ("nova-conductor", "nova-scheduler", "placement", "libvirtd", "glance")
    deadline = 120

    def configure(self) -> None:
        libvirt: dict[str, str] = {
            "virt_type": "qemu",
            "cpu_mode": "none",
            "images_type": "qcow2",
            "num_pcie_ports": "16",
        }
        for backend in volume_backends(self):
            libvirt |= backend.nova_libvirt_options()
        sections = {
            "DEFAULT": {"compute_driver": self.lab.options.driver},
            "libvirt": libvirt,
        }
        self.write(self.lab.etc("nova") / COMPUTE_CONF, ini(sections))

    def start(self) -> None:
        files = [
            *self.config_files(),
            *("--config-file", str(self.lab.etc("nova") / COMPUTE_CONF)),
        ]
        self.daemon("nova-compute", files)

    def ready(self) -> bool:
        """Return whether it is registered: discovery finds nothing before."""
        return self.running() and self._record_created()

    def populate(self) -> None:
        arguments = (*self.config_files(), "cell_v2", "discover_hosts")
        self.command("nova-manage", *arguments)

    def _record_created(self) -> bool:
        log = self.lab.log(self.name)
        return log.exists() and "Created resource provider" in log.read_text(
            errors="replace"
        )


def authtoken_of(service: OpenStackService, user: str) -> str:
    """Return the credentials with which Nova talks to another service."""
    from lab.openstack import authtoken

    return authtoken(service.lab, user)


def volume_backends(service: OpenStackService) -> list[VolumeBackend]:
    """Return the storage backends this lab was asked to have."""
    from lab.services import volume_backends as find

    return find(service.lab)


SERVICES = (NovaDatabase, NovaApi, NovaConductor, NovaScheduler, NovaCompute)
