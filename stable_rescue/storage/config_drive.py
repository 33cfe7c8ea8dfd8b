# SPDX-License-Identifier: Apache-2.0
"""The config drive of a rescue, which holds the password of the rescue (U3)."""

from pathlib import Path

from nova import conf as nova_conf
from nova import context as nova_context
from nova import objects
from nova.virt import configdrive
from nova.virt.libvirt import blockinfo
from nova.virt.libvirt import driver as libvirt_driver
from nova.virt.libvirt import utils as libvirt_utils

from stable_rescue import nova_internals, steps
from stable_rescue.domain import recognize
from stable_rescue.domain.document import Domain
from stable_rescue.domain.medium import Medium

CONF = nova_conf.CONF

_MAKE_PRIVATE = steps.changes("make the config drive private")


def is_wanted(original: Domain) -> bool:
    """Return True if the rescue of a server has a config drive.

    :param original: the server's original definition
    """
    return CONF.stable_rescue.config_drive == "always" or recognize.has_config_drive(
        original
    )


def to_add(
    driver: libvirt_driver.LibvirtDriver, instance: "objects.Instance"
) -> Medium | None:
    """Return the config drive for a server without one; None if it gets none."""
    if CONF.stable_rescue.config_drive != "always":
        return None
    mapping = {
        "type": blockinfo.get_config_drive_type(),
        # The plan chooses bus and target; Nova only needs some value.
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
    """Make the rescue's config drive; the server's config drive is not changed.

    The drive has the password, and the server's current keys and network. A file is
    readable by its owner only. Errors of Nova's image backends propagate.
    """
    if not configdrive.required_by(instance):
        # Nova makes a config drive only for an instance that asks for one. This copy
        # is not saved.
        instance = instance.obj_clone()
        instance.config_drive = "True"
    nova_internals.make_config_drive(driver, context, instance, admin_password)
    path = Path(
        libvirt_utils.get_instance_path(instance),
        recognize.CONFIG_DRIVE + recognize.RESCUE_SUFFIX,
    )
    if path.exists():  # A drive on RBD is no file.
        with _MAKE_PRIVATE:
            path.chmod(0o600)
