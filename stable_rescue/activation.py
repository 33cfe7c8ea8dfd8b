# SPDX-License-Identifier: Apache-2.0

"""The way into an unmodified nova-compute.

nova-compute calls ``os_vif.initialize()`` after it has parsed its configuration and
before it creates its service (nova/cmd/compute.py). os-vif loads every entry point of
the group ``os_vif``, ours among them, and so gives us the one moment at which

* a name can be added to ``nova.virt``, where Nova looks for compute drivers, and
* the class of the compute manager can still be chosen.

A fault here would stop the nova-compute of an operator, who perhaps does not even use
our driver: nothing in this module raises, nothing of Nova is imported unless
``[DEFAULT] compute_driver`` names our driver, and Nova's drivers never are.
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

MANAGER_LOST = (
    "stable_rescue: Nova's own compute manager stays in place. Servers are rescued, "
    "but a rescue that cannot succeed is refused only after the server has been "
    "powered off. Reason: %s"
)


class NovaVirtFinder(importlib.abc.MetaPathFinder):
    """Answers for ``nova.virt.stable_rescue`` and for nothing else."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        """Return the spec of our module, which is an ordinary file, or None."""
        if fullname != MODULE:
            return None
        return importlib.util.spec_from_file_location(fullname, MODULE_FILE)


class Activation(PluginBase):
    """The os-vif plugin that plugs nothing: loading it activates the driver."""

    @classmethod
    def load(cls, plugin_name: str) -> Self:
        """Return the plugin, after :func:`activate`. Raises nothing."""
        activate()
        plugin: Self = super().load(plugin_name)
        return plugin

    def describe(self) -> os_vif.objects.host_info.HostPluginInfo:
        """Return that no kind of VIF is supported."""
        return os_vif.objects.host_info.HostPluginInfo(
            plugin_name="stable_rescue", vif_info=[]
        )

    def plug(self, vif: Any, instance_info: Any) -> None:
        """Raise NotImplementedError: no VIF asks for this plugin."""
        raise NotImplementedError

    def unplug(self, vif: Any, instance_info: Any) -> None:
        """Raise NotImplementedError: no VIF asks for this plugin."""
        raise NotImplementedError


def activate() -> None:
    """Make our driver known to Nova and, where it is configured, our manager.

    Raises nothing: what fails is logged with what is lost by it. Calling it again
    changes nothing.
    """
    try:
        install_finder()
    except Exception:
        LOG.exception(
            "stable_rescue: compute_driver = %s cannot be loaded in this process",
            COMPUTE_DRIVER,
        )
    try:
        # Not registered where os-vif serves another program than Nova.
        if getattr(cfg.CONF, "compute_driver", None) == COMPUTE_DRIVER:
            install_manager()
    except Exception as error:
        LOG.exception(MANAGER_LOST, error)


def install_finder() -> None:
    """Have ``nova.virt.stable_rescue`` found, after everything else was asked."""
    if not any(isinstance(finder, NovaVirtFinder) for finder in sys.meta_path):
        sys.meta_path.append(NovaVirtFinder())


def install_manager() -> None:
    """Put our manager in the place of Nova's in ``nova.service.SERVICE_MANAGERS``.

    :raises ImportError: Nova's table or our manager cannot be imported.
    :raises LookupError: the table does not name the manager that ours extends.
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
    # Imported now, so that a manager which cannot be is never asked for. Nova
    # imports it next anyway; no driver comes along with it.
    importutils.import_class(MANAGER)
    managers[BINARY] = MANAGER
