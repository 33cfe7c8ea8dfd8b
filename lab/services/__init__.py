# SPDX-License-Identifier: Apache-2.0
"""The services of the lab, each in its module; lab/service.py has their base class."""

from __future__ import annotations

import importlib

from lab.config import Lab
from lab.service import Service, VolumeBackend

#: In the order of ``tools/lab status``. Each storage backend is a module of its name.
MODULES = (
    "mariadb",
    "rabbitmq",
    "memcached",
    "keystone",
    "placement",
    "glance",
    "neutron",
    "cinder",
    "libvirtd",
    "nova",
)
NETWORK_MODULES = ("ovs",)


def volume_backends(lab: Lab) -> list[VolumeBackend]:
    """Return the storage backends that the options of ``lab`` name."""
    return [
        service
        for backend in lab.options.backends
        for service in _instances(lab, backend)
        if isinstance(service, VolumeBackend)
    ]


def all_services(lab: Lab) -> list[Service]:
    """Return every service that ``lab`` has with its options."""
    modules = [
        *MODULES[:-1],
        *(NETWORK_MODULES if lab.options.network else ()),
        *lab.options.backends,
        MODULES[-1],
    ]
    return [service for module in modules for service in _instances(lab, module)]


def _instances(lab: Lab, module: str) -> list[Service]:
    loaded = importlib.import_module(f"lab.services.{module}")
    return [service(lab) for service in loaded.SERVICES]
