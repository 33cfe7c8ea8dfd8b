# SPDX-License-Identifier: Apache-2.0
"""The config drive made anew for a rescue, so that its password works (UPSTREAM U3)."""

from pathlib import Path

from nova import conf as nova_conf
from nova import context as nova_context
from nova import objects
from nova.virt import configdrive
from nova.virt.libvirt import blockinfo
from nova.virt.libvirt import driver as libvirt_driver
from nova.virt.libvirt import utils as libvirt_utils

from stable_rescue import nova_internals, steps
from stable_rescue.domain import recognise
from stable_rescue.domain.document import Domain
from stable_rescue.domain.medium import Medium

CONF = nova_conf.CONF


def is_wanted(original: Domain) -> bool:
    """Return True if the rescue of a server has a config drive.

    :param original: the server's original definition
    """
    return CONF.stable_rescue.config_drive == "always" or recognise.has_config_drive(
        original
    )


def to_add(
    driver: libvirt_driver.LibvirtDriver, instance: "objects.Instance"
) -> Medium | None:
    """Return the rescue's config drive for a server that has none; None: none."""
    if CONF.stable_rescue.config_drive != "always":
        return None
    mapping = {
        "type": blockinfo.get_config_drive_type(),
        # The plan decides.
        "bus": "any",
        "dev": "rescue",
    }
    return Medium(nova_internals.config_drive_xml(driver, instance, mapping))


def make(
    driver: libvirt_driver.LibvirtDriver,
    context: nova_context.RequestContext,
    instance: "objects.Instance",
    admin_password: str,
) -> None:
    """Make the rescue's config drive, beside the server's own if it has one.

    It has the password, the keys and the network that the server has now. As a file,
    its owner alone can read it.

    :raises Exception: what stood in the way
    """
    if not configdrive.required_by(instance):
        # Nova makes none for such an instance. The copy is not saved.
        instance = instance.obj_clone()
        instance.config_drive = "True"
    nova_internals.make_config_drive(driver, context, instance, admin_password)
    path = Path(
        libvirt_utils.get_instance_path(instance),
        recognise.CONFIG_DRIVE + recognise.RESCUE_SUFFIX,
    )
    if path.exists():  # and not in a pool
        _keep_to_owner(path)


@steps.changes("keep the config drive to its owner")
def _keep_to_owner(path: Path) -> None:
    path.chmod(0o600)
