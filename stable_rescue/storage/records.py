# SPDX-License-Identifier: Apache-2.0
"""Where the record of an instance's rescue is, and what it says."""

import contextlib
from pathlib import Path

from nova import conf as nova_conf
from nova import objects
from nova.virt.libvirt import utils as libvirt_utils
from oslo_log import log as logging

from stable_rescue import exception
from stable_rescue.storage.record import RECORD, Record, Store

CONF = nova_conf.CONF
LOG = logging.getLogger(__name__)


def instances() -> list[str]:
    """Return the ids of the instances that have a record, be it damaged."""
    found = Path(CONF.instances_path).glob(f"*/{RECORD}")
    return [path.parent.name for path in found]


def store_of(instance: "objects.Instance") -> Store:
    """Return the place of an instance's record."""
    return Store(libvirt_utils.get_instance_path(instance))


def forget_directory(instance: "objects.Instance") -> None:
    """Remove the directory of an instance that is gone, if nothing is in it.

    Nova's image backends make it anew for whoever asks them for a disk.
    """
    with contextlib.suppress(OSError):
        Path(libvirt_utils.get_instance_path(instance)).rmdir()


def load(instance: "objects.Instance") -> Record | None:
    """Return the record of an instance; one that is damaged is none (UPSTREAM U19)."""
    try:
        return store_of(instance).load()
    except exception.InvalidRecord as exc:
        LOG.warning("The record of a rescue is damaged: %s", exc, instance=instance)
        return None
