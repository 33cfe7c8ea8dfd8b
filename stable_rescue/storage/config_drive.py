# SPDX-License-Identifier: Apache-2.0
"""The config drive made anew for a rescue, so that its password works (UPSTREAM U3)."""

from nova import context as nova_context
from nova import objects
from nova.virt import configdrive
from nova.virt.libvirt import driver as libvirt_driver

from stable_rescue import nova_internals


def is_wanted(instance: "objects.Instance") -> bool:
    """Say whether the instance has a config drive."""
    return bool(configdrive.required_by(instance))


def make(
    driver: libvirt_driver.LibvirtDriver,
    context: nova_context.RequestContext,
    instance: "objects.Instance",
    admin_password: str,
) -> None:
    """Make the rescue's config drive, beside the server's own.

    It has the password, the keys and the network that the server has now.

    :raises Exception: what stood in the way
    """
    if is_wanted(instance):
        nova_internals.make_config_drive(driver, context, instance, admin_password)
