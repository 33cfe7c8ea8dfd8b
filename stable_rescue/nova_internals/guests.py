# SPDX-License-Identifier: Apache-2.0
"""The guest of an instance in libvirt: define, start and shut down."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from nova import conf as nova_conf
from nova import exception as nova_exception
from nova.compute import utils as compute_utils
from oslo_log import log as logging

from stable_rescue import steps
from stable_rescue.nova_internals import concurrency
from stable_rescue.nova_internals.instances import shares_of

if TYPE_CHECKING:
    from nova import context as nova_context
    from nova import objects
    from nova.virt.libvirt import driver as libvirt_driver
    from nova.virt.libvirt import guest as libvirt_guest

CONF = nova_conf.CONF
LOG = logging.getLogger(__name__)

# Nova repeats the request every 10 seconds. A guest that is booting may miss the first
# one, and a rescue system has often just booted.
_SHUTDOWN_RETRY_SECONDS = 5


def use_reentrant_connection_lock(driver: libvirt_driver.LibvirtDriver) -> None:
    """Prevent a deadlock in nova-compute when the connection to libvirt breaks (U34).

    With native threads (Nova 34), libvirt's client calls Nova's handler from the call
    that detects the broken connection. Nova makes that call under a lock which the
    handler needs as well. The thread would wait for itself, and all others for it.
    """
    if concurrency.has_threads():
        driver._host._wrapped_conn_lock = threading.RLock()


def guest_of(
    driver: libvirt_driver.LibvirtDriver, instance: objects.Instance
) -> libvirt_guest.Guest:
    """Return the instance's guest.

    :raises nova.exception.InstanceNotFound: if libvirt has no definition of it
    """
    return driver._host.get_guest(instance)


def definitions(driver: libvirt_driver.LibvirtDriver) -> list[str]:
    """Return the definition of each domain of Nova on this host.

    Of a guest that runs, this is the live one. Errors of libvirt propagate.
    """
    guests = driver._host.list_guests(only_running=False)
    return [guest.get_xml_desc() for guest in guests]


def is_active(driver: libvirt_driver.LibvirtDriver, instance: objects.Instance) -> bool:
    """Return True if the instance's guest runs. Errors of libvirt propagate."""
    try:
        return bool(guest_of(driver, instance).is_active())
    except nova_exception.InstanceNotFound:
        return False


def disk_bytes(
    driver: libvirt_driver.LibvirtDriver, instance: objects.Instance, target: str
) -> int:
    """Return the size of a running guest's disk, as the guest sees it.

    Errors of libvirt propagate.

    :raises nova.exception.InstanceNotFound: if libvirt has no definition of it
    """
    return int(guest_of(driver, instance)._domain.blockInfo(target)[0])


def block_stats(
    driver: libvirt_driver.LibvirtDriver, instance: objects.Instance
) -> dict[str, Any]:
    """Return libvirt's statistics of a guest's disks and of what is below them.

    They are empty if something else occupies the guest. Errors of libvirt propagate.

    :raises nova.exception.InstanceNotFound: if libvirt has no definition of it
    """
    import libvirt

    domain = guest_of(driver, instance)._domain
    ((_domain, stats),) = driver._host.get_connection().domainListGetStats(
        # With eventlet, Nova wraps each domain, and libvirt accepts no other object.
        [getattr(domain, "_obj", domain)],
        libvirt.VIR_DOMAIN_STATS_BLOCK,
        libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_BACKING
        | libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT,
    )
    return dict(stats)


@steps.changes("define a domain")
def define_guest(driver: libvirt_driver.LibvirtDriver, xml: str) -> None:
    """Define a domain, or redefine it, without starting it.

    :raises libvirt.libvirtError: if libvirt rejects the definition
    """
    driver._host.write_instance_config(xml)


def build_definition(
    driver: libvirt_driver.LibvirtDriver,
    context: nova_context.RequestContext,
    instance: objects.Instance,
    devices: dict[str, Any],
) -> str:
    """Return the definition that Nova would start the instance with.

    Errors of Nova's driver propagate.

    :param devices: the instance's block_device_info
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


def devices_from_outside(
    driver: libvirt_driver.LibvirtDriver, instance: objects.Instance
) -> list[str]:
    """Return the kinds of devices of an instance that :func:`build_definition` lacks.

    Placement knows the vGPUs and Cyborg the accelerators; Nova asks both for a hard
    reboot.
    """
    specs = dict(instance.flavor.extra_specs)
    mdev_classes = {"VGPU", *getattr(driver, "mdev_classes", ())}
    kinds = []
    if any(
        key.startswith("resources") and key.partition(":")[2] in mdev_classes
        for key in specs
    ):
        kinds.append("vGPU")
    if "accel:device_profile" in specs:
        kinds.append("accelerator")
    return kinds


_is_defined = steps.point("a domain to be started is defined")


@steps.changes("start a domain")
def start_guest(
    driver: libvirt_driver.LibvirtDriver,
    context: nova_context.RequestContext,
    xml: str,
    instance: objects.Instance,
) -> None:
    """Define a domain and start it, after Nova has prepared its vTPM and its CPUs.

    :raises libvirt.libvirtError: if libvirt does not define or start the domain
    """
    driver._create_guest(context, xml, instance, post_xml_callback=_is_defined)


def has_usb_cdroms(driver: libvirt_driver.LibvirtDriver) -> bool:
    """Return True if guests see a cdrom on USB as a cdrom.

    libvirt before 11.5 makes it a usb-storage device, and QEMU presents that as a hard
    disk (F34).
    """
    return bool(driver._host.has_min_version(lv_ver=(11, 5, 0)))


def request_shutdown(
    driver: libvirt_driver.LibvirtDriver, instance: objects.Instance
) -> None:
    """Ask the guest to shut down; an error of libvirt is only logged.

    The guest may have ended, or its operating system may not have started yet.
    """
    try:
        guest_of(driver, instance).shutdown()
    except Exception as exc:  # noqa: BLE001 - a guest that goes on is powered off
        LOG.debug("The shutdown request failed: %s", exc, instance=instance)


def power_off_values(instance: objects.Instance) -> tuple[int, int]:
    """Return the seconds until a shutdown is forced, and between two requests.

    The first is read as in Nova's compute manager (_get_power_off_values).
    """
    timeout = compute_utils.get_value_from_system_metadata(
        instance,
        key="image_os_shutdown_timeout",
        type=int,
        default=CONF.shutdown_timeout,
    )
    return timeout, _SHUTDOWN_RETRY_SECONDS
