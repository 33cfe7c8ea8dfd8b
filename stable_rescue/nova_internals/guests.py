# SPDX-License-Identifier: Apache-2.0
"""A guest: its definition in libvirt, its start, its shutdown."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from nova import conf as nova_conf
from nova import utils
from nova.compute import utils as compute_utils

from stable_rescue import steps
from stable_rescue.nova_internals.instances import shares_of

if TYPE_CHECKING:
    from nova import context as nova_context
    from nova import objects
    from nova.virt.libvirt import driver as libvirt_driver
    from nova.virt.libvirt import guest as libvirt_guest

CONF = nova_conf.CONF

# Nova asks every 10 seconds; a guest that was just booted may miss the first time.
_SHUTDOWN_RETRY_SECONDS = 5


def outlive_libvirts_connection(driver: libvirt_driver.LibvirtDriver) -> None:
    """Keep a thread that finds the connection to libvirt lost from waiting for itself.

    With native threads (Nova 34) libvirt's client tells of the loss within the very
    call that finds it out. Nova makes that call under a lock, asks for the lock once
    more to be told, and no thread of nova-compute talks to libvirt ever again.
    """
    with_threads = getattr(utils, "concurrency_mode_threading", None)
    if with_threads and with_threads():
        driver._host._wrapped_conn_lock = threading.RLock()


def guest_of(
    driver: libvirt_driver.LibvirtDriver, instance: objects.Instance
) -> libvirt_guest.Guest:
    """Return the instance's guest.

    :raises nova.exception.InstanceNotFound: where libvirt has no definition of it
    """
    return driver._host.get_guest(instance)


@steps.changes("define a domain")
def define_guest(driver: libvirt_driver.LibvirtDriver, xml: str) -> None:
    """Define a domain, over one that may be there, without starting it.

    :raises libvirt.libvirtError: where libvirt refuses it
    """
    driver._host.write_instance_config(xml)


def build_definition(
    driver: libvirt_driver.LibvirtDriver,
    context: nova_context.RequestContext,
    instance: objects.Instance,
    devices: dict[str, Any],
) -> str:
    """Return the definition that Nova would start the instance with, all devices in it.

    :param devices: the instance's block devices, as drivers take them
    :raises Exception: what stood in the way
    """
    from nova.virt.libvirt import blockinfo

    image_meta = instance.image_meta
    disk_info = blockinfo.get_disk_info(
        CONF.libvirt.virt_type, instance, image_meta, devices
    )
    return str(
        driver._get_guest_xml(
            context,
            instance,
            instance.get_network_info(),
            disk_info,
            image_meta,
            block_device_info=devices,
            share_info=shares_of(context, instance),
        )
    )


_is_defined = steps.point("a domain to be started is defined")


@steps.changes("start a domain")
def start_guest(
    driver: libvirt_driver.LibvirtDriver,
    context: nova_context.RequestContext,
    xml: str,
    instance: objects.Instance,
) -> None:
    """Define a domain and start it, its vTPM's secret and its CPUs made ready.

    :raises libvirt.libvirtError: where libvirt refuses to define or start it
    """
    driver._create_guest(context, xml, instance, post_xml_callback=_is_defined)


def has_usb_cdroms(driver: libvirt_driver.LibvirtDriver) -> bool:
    """Say whether guests take a cdrom on USB for one.

    Libvirt before 11.5 makes it a usb-storage device, which QEMU, given its drive by
    -blockdev, presents as a hard disk.
    """
    return bool(driver._host.has_min_version(lv_ver=(11, 5, 0)))


def power_off_values(instance: objects.Instance) -> tuple[int, int]:
    """Return how many seconds a guest has to shut down, and between two requests.

    As Nova's compute manager has it (_get_power_off_values).
    """
    timeout = compute_utils.get_value_from_system_metadata(
        instance,
        key="image_os_shutdown_timeout",
        type=int,
        default=CONF.shutdown_timeout,
    )
    return timeout, _SHUTDOWN_RETRY_SECONDS
