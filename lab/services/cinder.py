# SPDX-License-Identifier: Apache-2.0
"""Cinder, with every storage backend of the lab."""

from __future__ import annotations

from lab.openstack import OpenStackService, WebService, authtoken
from lab.service import ini
from lab.services import volume_backends
from lab.services.mariadb import migrate_once


class _Cinder(OpenStackService):
    project = "cinder"


class CinderDatabase(_Cinder):
    """Writes cinder.conf and creates the database; has no process."""

    name = "cinder-database"
    requires = ("mariadb",)

    def configure(self) -> None:
        backends = volume_backends(self.lab)
        values = self.values() | {
            "database": self.lab.database("cinder"),
            "nova": authtoken(self.lab, "nova"),
            "volume_key": self.lab.secret("volume-key"),
            "backends": ",".join(backend.name for backend in backends),
            "default_type": backends[0].volume_type if backends else "",
            "sections": ini(
                {
                    backend.name: {"volume_backend_name": backend.name}
                    | backend.cinder_backend_section()
                    for backend in backends
                }
            ),
        }
        self.render("cinder.conf", self.lab.etc("cinder") / "cinder.conf", values)
        self.copy_from_venv(
            "api-paste.ini", "resource_filters.json", "rootwrap.conf", "rootwrap.d"
        )
        self.folder("lock")

    def prepare(self) -> None:
        arguments = (*self.config_files(), "db", "sync")
        migrate_once(
            self.lab, "cinder", lambda: self.command("cinder-manage", *arguments)
        )

    def ready(self) -> bool:
        return True


class CinderApi(WebService):
    """The volume API."""

    name = "cinder-api"
    project = "cinder"
    module = "cinder.wsgi.api"
    requires = ("cinder-database", "rabbitmq", "memcached")

    def uwsgi_arguments(self) -> list[str]:
        return ["--pyargv", " ".join(self.config_files())]


class CinderScheduler(_Cinder):
    """Chooses the backend of a volume."""

    name = "cinder-scheduler"
    requires = ("cinder-database", "rabbitmq")

    def start(self) -> None:
        self.daemon("cinder-scheduler")

    def ready(self) -> bool:
        return self.running() and self.has_logged("Starting cinder-scheduler node")


class CinderVolume(_Cinder):
    """Manages the volumes on the storage backends."""

    name = "cinder-volume"
    # The scheduler must run first: cinder-volume reports its backends at its start and
    # then every minute, and without a report no volume can be scheduled.
    requires = ("cinder-database", "rabbitmq", "cinder-scheduler")

    def needs(self) -> tuple[str, ...]:
        return (*self.requires, *self.lab.options.backends)

    def start(self) -> None:
        if self.lab.options.backends:
            self.daemon("cinder-volume")

    def ready(self) -> bool:
        """Return True if the drivers of all backends are initialized."""
        backends = len(self.lab.options.backends)
        started = "Driver initialization completed successfully"
        return not backends or (self.running() and self.has_logged(started, backends))


SERVICES = (CinderDatabase, CinderApi, CinderScheduler, CinderVolume)
