# SPDX-License-Identifier: Apache-2.0

"""Activates stable rescue in an unmodified nova-compute.

nova-compute calls ``os_vif.initialize()`` after it has parsed its configuration and
before it creates its service (nova/cmd/compute.py). os-vif loads every entry point of
the group ``os_vif``; stable rescue has one there. This is the only moment to

* add a module to ``nova.virt``, where Nova looks for compute drivers, and
* replace the class of the compute manager.

An exception here would stop nova-compute, even on hosts that do not use
StableRescueDriver. So the plugin raises nothing when it is loaded, imports Nova only if
``[DEFAULT] compute_driver`` names StableRescueDriver, and never imports Nova's drivers.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.util
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any, Self

import os_vif.objects
from os_vif.plugin import PluginBase
from oslo_config import cfg
from oslo_log import log as logging
from oslo_utils import importutils

LOG = logging.getLogger(__name__)

COMPUTE_DRIVER = "stable_rescue.StableRescueDriver"
MODULE = "nova.virt.stable_rescue"
MODULE_FILE = Path(__file__).with_name("nova_virt.py")

BINARY = "nova-compute"
NOVA_MANAGER = "nova.compute.manager.ComputeManager"
MANAGER = "stable_rescue.compute.manager.ComputeManager"

MANAGER_NOT_INSTALLED = (
    "stable_rescue could not install its compute manager; nova-compute keeps Nova's. "
    "Servers can be rescued, but an impossible rescue is refused only after the server "
    "was powered off. Reason: %s"
)


class NovaVirtFinder(importlib.abc.MetaPathFinder):
    """Finds the module ``nova.virt.stable_rescue`` and no other."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        """Return the spec of nova_virt.py, or None for another module."""
        if fullname != MODULE:
            return None
        return importlib.util.spec_from_file_location(fullname, MODULE_FILE)


class Activation(PluginBase):
    """An os-vif plugin without VIF types: loading it activates stable rescue."""

    @classmethod
    def load(cls, plugin_name: str) -> Self:
        """Call :func:`activate`, and return the plugin."""
        activate()
        plugin: Self = super().load(plugin_name)
        return plugin

    def describe(self) -> os_vif.objects.host_info.HostPluginInfo:
        """Return a description without VIF types."""
        return os_vif.objects.host_info.HostPluginInfo(
            plugin_name="stable_rescue", vif_info=[]
        )

    def plug(self, vif: Any, instance_info: Any) -> None:
        """Not called by os-vif, because the plugin has no VIF types."""
        raise NotImplementedError

    def unplug(self, vif: Any, instance_info: Any) -> None:
        """Not called by os-vif, because the plugin has no VIF types."""
        raise NotImplementedError


def activate() -> None:
    """Install the driver's module and, if the driver is configured, the manager.

    Errors are logged with their consequence and do not propagate. A second call
    changes nothing.
    """
    try:
        install_finder()
    except Exception:
        LOG.exception(
            "stable_rescue could not add its driver to nova.virt; nova-compute does "
            "not start if compute_driver is %s",
            COMPUTE_DRIVER,
        )
    try:
        # Another program that uses os-vif has no option compute_driver.
        if getattr(cfg.CONF, "compute_driver", None) == COMPUTE_DRIVER:
            install_manager()
    except Exception as error:
        LOG.exception(MANAGER_NOT_INSTALLED, error)


def install_finder() -> None:
    """Make ``nova.virt.stable_rescue`` importable, after all other finders."""
    if not any(isinstance(finder, NovaVirtFinder) for finder in sys.meta_path):
        sys.meta_path.append(NovaVirtFinder())


def install_manager() -> None:
    """Replace Nova's compute manager in ``nova.service.SERVICE_MANAGERS``.

    The package of another driver may call this, before nova-compute creates its
    service. The manager is only used if the driver takes part in stable rescue.

    :raises ImportError: if nova.service or stable rescue's manager cannot be imported
    :raises LookupError: if the table does not name Nova's manager, which is extended
    """
    service = importlib.import_module("nova.service")
    managers = getattr(service, "SERVICE_MANAGERS", {})
    current = managers.get(BINARY)
    if current == MANAGER:
        return
    if current != NOVA_MANAGER:
        raise LookupError(
            f"nova.service.SERVICE_MANAGERS[{BINARY!r}] is {current!r}, "
            f"not {NOVA_MANAGER!r}"
        )
    # An import error has to occur here, where Nova's manager can be kept. Nova imports
    # the class next anyway, and the import loads no driver.
    importutils.import_class(MANAGER)
    managers[BINARY] = MANAGER
