# SPDX-License-Identifier: Apache-2.0
"""Every private helper of Nova that is called, and every difference by release.

Nothing else touches a name of Nova's that begins with an underscore. The helpers
here have the same form in Nova 31, 32, 33 and 34.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from nova import conf as nova_conf
from nova import utils
from nova.compute import utils as compute_utils
from nova.objects import block_device as block_device_mapping
from nova.objects import share_mapping
from nova.virt import driver as virt_driver
from oslo_log import log as logging

from stable_rescue import steps
from stable_rescue.domain.recognise import CONFIG_DRIVE, RESCUE_DISK, RESCUE_SUFFIX

# The manager is imported before Nova loads a driver, and must not load one.
if TYPE_CHECKING:
    from nova import context as nova_context
    from nova import objects
    from nova.compute import manager
    from nova.virt.libvirt import driver as libvirt_driver
    from nova.virt.libvirt import guest as libvirt_guest

CONF = nova_conf.CONF
LOG = logging.getLogger(__name__)

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


def shares_of(
    context: nova_context.RequestContext, instance: objects.Instance
) -> objects.ShareMappingList:
    """Return the instance's Manila shares, as drivers take them."""
    return share_mapping.ShareMappingList.get_by_instance_uuid(context, instance.uuid)


_is_defined = steps.within("a domain to be started is defined", __name__)


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


def image_api_of(driver: libvirt_driver.LibvirtDriver) -> Any:
    """Return the driver's nova.image.glance.API."""
    return driver._image_api


@steps.changes("fetch the rescue disk")
def fetch_rescue_disk(
    driver: libvirt_driver.LibvirtDriver,
    context: nova_context.RequestContext,
    instance: objects.Instance,
    image_id: str,
    mapping: dict[str, str],
) -> None:
    """Create the rescue disk from its image through the configured image backend.

    :param mapping: the disk's bus, dev and type, as in Nova's disk_info
    :raises nova.exception.NovaException: where the image cannot be had or used
    """
    driver._create_and_inject_local_root(
        context,
        instance,
        {RESCUE_DISK: mapping},
        booted_from_volume=False,
        suffix=RESCUE_SUFFIX,
        disk_images={"image_id": image_id},
        injection_info=None,
        fallback_from_host=None,
    )


@steps.changes("make the config drive")
def make_config_drive(
    driver: libvirt_driver.LibvirtDriver,
    context: nova_context.RequestContext,
    instance: objects.Instance,
    admin_password: str,
) -> None:
    """Create the rescue's config drive through the configured image backend.

    One that is there already is left as it is.

    :raises Exception: what stood in the way
    """
    from nova.virt.libvirt.driver import InjectionInfo

    injection_info = InjectionInfo(
        network_info=instance.get_network_info(), files=None, admin_pass=admin_password
    )
    driver._create_configdrive(context, instance, injection_info, rescue=True)


def rescue_disk_xml(
    driver: libvirt_driver.LibvirtDriver,
    instance: objects.Instance,
    mapping: dict[str, str],
) -> str:
    """Return the <disk> element that Nova writes for the rescue disk.

    The host's discard and I/O settings and the flavor's quotas are in it, and the
    host's cache mode, which Nova's own rescue forgets (UPSTREAM U27).
    """
    return _local_disk_xml(driver, instance, RESCUE_DISK, mapping)


def config_drive_xml(
    driver: libvirt_driver.LibvirtDriver,
    instance: objects.Instance,
    mapping: dict[str, str],
) -> str:
    """Return the <disk> element that Nova would write for the rescue's config drive.

    :param mapping: its bus, dev and type, as in Nova's disk_info
    """
    name = CONFIG_DRIVE + RESCUE_SUFFIX
    image_type = driver._get_disk_config_image_type()
    return _local_disk_xml(driver, instance, name, mapping, image_type)


def _local_disk_xml(
    driver: libvirt_driver.LibvirtDriver,
    instance: objects.Instance,
    name: str,
    mapping: dict[str, str],
    image_type: str | None = None,
) -> str:
    config = driver._get_guest_disk_config(
        instance, name, {name: mapping}, instance.flavor, image_type
    )
    driver._set_cache_mode(config)
    return _text_of(config)


def _text_of(config: Any) -> str:
    xml = config.to_xml()
    return xml.decode() if isinstance(xml, bytes) else xml


def rescue_disks_of_lvm(
    driver: libvirt_driver.LibvirtDriver, instance: objects.Instance
) -> list[str]:
    """Return the LVM volumes that hold an instance's rescue disk; usually none."""
    volumes = driver._lvm_disks(instance) or []
    return [volume for volume in volumes if volume.endswith(RESCUE_SUFFIX)]


def connector_of(
    driver: libvirt_driver.LibvirtDriver, connection_info: dict[str, Any]
) -> Any:
    """Return os-brick's connector for a volume; None: its driver has no need of one.

    :raises nova.exception.VolumeDriverNotFound: where the host knows no such volumes
    """
    volume_driver = driver._get_volume_driver(connection_info)
    return getattr(volume_driver, "connector", None)


@steps.changes("connect a volume")
def connect_volume(
    driver: libvirt_driver.LibvirtDriver,
    context: nova_context.RequestContext,
    instance: objects.Instance,
    connection_info: dict[str, Any],
) -> None:
    """Connect a volume to the host as Nova's hard reboot does; one there stays.

    The secret of an encrypted volume is made where it is missing. Nova writes into
    connection_info what device it has become.

    :raises Exception: what the volume's driver raises
    """
    driver._connect_volume(context, connection_info, instance)


@steps.changes("disconnect a volume")
def disconnect_volume(
    driver: libvirt_driver.LibvirtDriver,
    context: nova_context.RequestContext,
    instance: objects.Instance,
    connection_info: dict[str, Any],
    keep_secret: bool,
) -> None:
    """Disconnect a volume from the host, unless another server here has it too.

    :raises Exception: what the volume's driver raises
    """
    driver._disconnect_volume(
        context, connection_info, instance, destroy_secrets=not keep_secret
    )


@contextlib.contextmanager
def guarding_volume(
    driver: libvirt_driver.LibvirtDriver,
    context: nova_context.RequestContext,
    volume_id: str,
) -> Iterator[None]:
    """Hold the lock that Nova holds around the attachment of a volume.

    It is os-brick's, for backends whose volumes share a target, and keeps others of
    this host from attaching and detaching volumes there. Where Cinder does not say
    whether there is need for it, it is not taken: so does Nova's hard reboot.
    """
    from nova.virt.block_device import DriverVolumeBlockDevice
    from os_brick.initiator import utils as brick_utils

    try:
        volume = DriverVolumeBlockDevice._get_volume(
            context, driver._volume_api, volume_id
        )
    except Exception:
        LOG.warning("Volume %s: connecting without its lock", volume_id, exc_info=True)
        volume = {}
    with brick_utils.guard_connection(volume):
        yield


def volume_disk_xml(
    driver: libvirt_driver.LibvirtDriver,
    connection_info: dict[str, Any],
    mapping: dict[str, str],
) -> str:
    """Return the <disk> element that Nova writes for a connected volume.

    :param mapping: the disk's bus, dev and type, as in Nova's disk_info
    :raises Exception: where Nova cannot make anything of the connection_info
    """
    # (Nova's _get_volume_config, which takes other arguments in 34.)
    volume_driver = driver._get_volume_driver(connection_info)
    return _text_of(volume_driver.get_config(connection_info, mapping))


def has_volume_secret(driver: libvirt_driver.LibvirtDriver, volume_id: str) -> bool:
    """Say whether libvirt has the secret of an encrypted volume."""
    return driver._host.find_secret("volume", volume_id) is not None


@steps.changes("make a volume's secret")
def make_volume_secret(
    driver: libvirt_driver.LibvirtDriver,
    context: nova_context.RequestContext,
    connection_info: dict[str, Any],
) -> None:
    """Make the libvirt secret of a natively encrypted volume, where it is missing.

    :raises Exception: where Cinder or the key manager does not give the key
    """
    # Told of a device, Nova would format one on which it finds no LUKS.
    data = {k: v for k, v in connection_info["data"].items() if k != "device_path"}
    driver._attach_encryptor(context, {**connection_info, "data": data}, None)


def volume_api_of(driver: libvirt_driver.LibvirtDriver) -> Any:
    """Return the driver's nova.volume.cinder.API."""
    return driver._volume_api


def fresh_block_device_info(
    compute: manager.ComputeManager,
    context: nova_context.RequestContext,
    instance: objects.Instance,
) -> dict[str, Any]:
    """Return an instance's block devices with the connections that Cinder has now.

    :raises Exception: where Cinder does not tell
    """
    copies = [
        mapping.obj_clone()
        for mapping in block_device_mapping.BlockDeviceMappingList.get_by_instance_uuid(
            context, instance.uuid
        )
    ]
    for mapping in copies:
        # Nova's refresh saves what Cinder tells, which lacks the device that the
        # volume is connected as: StorPool's could not be disconnected any more.
        mapping.save = lambda: None
    return dict(
        compute._get_instance_block_device_info(
            context, instance, refresh_conn_info=True, bdms=copies
        )
    )


def block_device_info(
    context: nova_context.RequestContext, instance: objects.Instance
) -> dict[str, Any]:
    """Return the instance's block devices as drivers take them."""
    mappings = block_device_mapping.BlockDeviceMappingList.get_by_instance_uuid(
        context, instance.uuid
    )
    return dict(virt_driver.get_block_device_info(instance, mappings))


def rescue_image_ref(
    compute: manager.ComputeManager,
    context: nova_context.RequestContext,
    instance: objects.Instance,
    image_ref: str | None,
) -> str:
    """Return the id of the image that Nova rescues with.

    :raises ValueError: where Nova refuses one of the image's properties
    :raises nova.exception.NovaException: where Glance does not give the image
    """
    return str(compute._get_rescue_image(context, instance, image_ref).id)


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


def power_state(compute: manager.ComputeManager, instance: objects.Instance) -> int:
    """Return the guest's power state, as libvirt has it now."""
    return int(compute._get_power_state(instance))


def mount_shares(
    compute: manager.ComputeManager,
    context: nova_context.RequestContext,
    instance: objects.Instance,
) -> None:
    """Mount the instance's Manila shares on the host; one that is mounted stays.

    :raises Exception: what Nova's drivers of shares raise
    """
    shares = getattr(compute, "share_manager", None)
    if shares is not None:  # Nova 34
        found = shares.get_share_info(context, instance, check_status=False)
        mount = shares.mount_all
    else:
        found = compute._get_share_info(context, instance, check_status=False)
        mount = compute._mount_all_shares
    if len(found):
        mount(context, instance, found)


def replace_periodic_tasks(manager_class: type) -> None:
    """Have a class run its own periodic tasks in place of its base's of the same name.

    oslo.service runs both.
    """
    tasks = dict(manager_class._periodic_tasks)
    manager_class._periodic_tasks = list(tasks.items())
