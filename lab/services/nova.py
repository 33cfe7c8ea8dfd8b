# SPDX-License-Identifier: Apache-2.0
"""Nova, unmodified except for the compute driver that ``--driver`` names."""

from __future__ import annotations

from pathlib import Path

from lab.openstack import OpenStackService, WebService, authtoken
from lab.service import ini
from lab.services import volume_backends
from lab.services.mariadb import dump, execute, migrate_once

COMPUTE_CONF = "nova-compute.conf"
#: A separate file, because nova-compute must have no access to the databases.
DATABASE_CONF = "nova-database.conf"

#: The first Nova that uses native threads, and no eventlet, by default.
FIRST_NATIVE = 34


class _Nova(OpenStackService):
    project = "nova"
    #: The file that is read after nova.conf.
    more = DATABASE_CONF

    def config_files(self) -> list[str]:
        more = str(self.lab.etc("nova") / self.more)
        return [*super().config_files(), "--config-file", more]


class NovaDatabase(_Nova):
    """Writes nova.conf and creates the databases; has no process."""

    name = "nova-database"
    requires = ("mariadb",)

    def configure(self) -> None:
        lab = self.lab
        values = self.values() | {
            "placement": authtoken(lab, "placement"),
            "neutron": authtoken(lab, "neutron"),
            "cinder": authtoken(lab, "cinder"),
            "instances": str(self.folder("instances")),
            "metadata_secret": lab.secret("metadata"),
            "volume_key": lab.secret("volume-key"),
        }
        self.render("nova.conf", lab.etc("nova") / "nova.conf", values)
        databases = {
            "api_database": {"connection": lab.database("nova_api")},
            "database": {"connection": lab.database("nova")},
        }
        self.write(lab.etc("nova") / DATABASE_CONF, ini(databases))
        # nova-api looks for api-paste.ini in the folder of nova.conf only.
        self.copy_from_venv("api-paste.ini", "rootwrap.conf", "rootwrap.d")
        self.folder("lock")

    def prepare(self) -> None:
        lab = self.lab
        migrate_once(lab, "nova_api", lambda: self.manage("api_db", "sync"))
        migrate_once(lab, "nova", lambda: self.manage("db", "sync", "--local_cell"))
        # cell0 has the same schema: copy it instead of running the migrations again.
        execute(lab, "nova_cell0", dump(lab, "nova"))
        self.manage("cell_v2", "map_cell0")  # derives the name from the main database
        self.manage("cell_v2", "create_cell", "--name", "cell1")

    def ready(self) -> bool:
        return True

    def manage(self, *arguments: str) -> None:
        """Run nova-manage."""
        self.command("nova-manage", *self.config_files(), *arguments)


class NovaApi(WebService):
    """The compute API."""

    name = "nova-api"
    project = "nova"
    module = "nova.wsgi.osapi_compute"
    requires = ("nova-database", "rabbitmq", "memcached")

    def environment(self) -> dict[str, str]:
        files = {"OS_NOVA_CONFIG_FILES": f"api-paste.ini;nova.conf;{DATABASE_CONF}"}
        return super().environment() | files

    def uwsgi_arguments(self) -> list[str]:
        """Return one thread per process for releases that eventlet patches.

        With several threads the answer to an RPC call wakes the wrong one, or none.
        """
        if int(self.lab.options.nova.partition(".")[0]) >= FIRST_NATIVE:
            return []
        return ["--threads", "1", "--processes", "2"]


class NovaConductor(_Nova):
    """Accesses the databases for nova-compute."""

    name = "nova-conductor"
    requires = ("nova-database", "rabbitmq")

    def start(self) -> None:
        self.daemon("nova-conductor")

    def ready(self) -> bool:
        """Return True if the conductor listens.

        Otherwise the first call of nova-compute would wait 10 s.
        """
        return self.running() and self.has_logged("Starting conductor node")


class NovaScheduler(_Nova):
    """Chooses the host of a server; the lab has one host."""

    name = "nova-scheduler"
    requires = ("nova-database", "rabbitmq", "placement")

    def start(self) -> None:
        self.daemon("nova-scheduler")

    def ready(self) -> bool:
        return self.running() and self.has_logged("Starting scheduler node")


class NovaCompute(_Nova):
    """nova-compute with the driver under test."""

    name = "nova-compute"
    requires = (
        *("nova-conductor", "nova-scheduler", "libvirtd"),
        *("keystone", "placement", "glance"),
    )
    deadline = 240
    more = COMPUTE_CONF

    def configure(self) -> None:
        libvirt: dict[str, str] = {
            "virt_type": "qemu",
            "cpu_mode": "none",
            "images_type": self.lab.options.images_type,
            "num_pcie_ports": "16",
        }
        for backend in volume_backends(self.lab):
            libvirt |= backend.nova_libvirt_options()
        sections = {
            "DEFAULT": {"compute_driver": self.lab.options.driver},
            "libvirt": libvirt,
            "stable_rescue": {
                # Chaos kills services often, and the default is too long to wait for.
                "stalled_after": "30",
                "allowed_networks": "keep,quarantine",
                "allowed_writes": "keep,discard",
                "memory_dump_path": str(self.folder("memory-dumps")),
                "metrics_file": str(self.lab.data("nova") / "stable_rescue.prom"),
            },
        }
        self.write(self.lab.etc("nova") / COMPUTE_CONF, ini(sections))

    def start(self) -> None:
        self.daemon("nova-compute")

    def ready(self) -> bool:
        """Return True if the host is registered, so that it can be discovered.

        When nova-compute restarts, the host is known and nothing is registered.
        """
        known = self._discovered.exists()
        message = "unclaimed instances" if known else "Created resource provider"
        return self.running() and self.has_logged(message)

    def populate(self) -> None:
        NovaDatabase(self.lab).manage("cell_v2", "discover_hosts")
        self._discovered.touch()

    @property
    def _discovered(self) -> Path:
        return self.lab.data("stamps") / "nova-compute.discovered"


SERVICES = (NovaDatabase, NovaApi, NovaConductor, NovaScheduler, NovaCompute)
