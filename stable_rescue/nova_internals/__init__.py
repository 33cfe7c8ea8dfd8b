# SPDX-License-Identifier: Apache-2.0
"""Every private part of Nova that is used, and every difference between releases.

Private parts of Nova are used in two ways:

- Helpers. The functions below call private methods of Nova's manager and driver. No
  other module uses a private name of Nova. Each helper has the same form in Nova 31,
  32, 33 and 34, or handles the difference.
- Hooks. Classes in ``compute`` and ``virt`` override private methods of Nova. ``HOOKS``
  lists each of them with the reason.

nova-compute imports the manager before it loads a driver, and the import must not load
one: functions that need nova.virt.libvirt import it when they are called.
"""

from stable_rescue.nova_internals.conductor import (
    NoAnswerError,
    connect_to_conductor,
    instances_even_deleted,
)
from stable_rescue.nova_internals.consoles import (
    acquire_port,
    claim_port,
    release_port,
)
from stable_rescue.nova_internals.contexts import service_user_context
from stable_rescue.nova_internals.disks import (
    config_drive_xml,
    fetch_rescue_disk,
    image_api_of,
    make_config_drive,
    rescue_disk_xml,
    rescue_disks_of_lvm,
)
from stable_rescue.nova_internals.guest_events import receive_events, watched
from stable_rescue.nova_internals.guests import (
    block_stats,
    build_definition,
    define_guest,
    definitions,
    devices_from_outside,
    disk_bytes,
    guest_of,
    has_usb_cdroms,
    is_active,
    power_off_values,
    request_shutdown,
    start_guest,
    use_reentrant_connection_lock,
)
from stable_rescue.nova_internals.hooks import HOOKS, Hook
from stable_rescue.nova_internals.hosts import (
    HostVersions,
    Version,
    nova_version,
    read_only_connection,
    versions_of,
    versions_without_driver,
)
from stable_rescue.nova_internals.instances import (
    block_device_info,
    mount_shares,
    ports_in_neutron,
    power_state,
    replace_periodic_tasks,
    rescue_image_ref,
    shares_of,
    unsaved_block_device_info,
)
from stable_rescue.nova_internals.memory import (
    DUMP_FORMATS,
    dump_memory,
    is_dumping,
    is_paused,
    pause_guest,
    resume_guest,
)
from stable_rescue.nova_internals.volumes import (
    connect_volume,
    connector_of,
    disconnect_volume,
    has_volume_secret,
    make_volume_secret,
    volume_api_of,
    volume_disk_xml,
    volume_lock,
)

__all__ = [
    "DUMP_FORMATS",
    "HOOKS",
    "Hook",
    "HostVersions",
    "NoAnswerError",
    "Version",
    "acquire_port",
    "block_device_info",
    "block_stats",
    "build_definition",
    "claim_port",
    "config_drive_xml",
    "connect_to_conductor",
    "connect_volume",
    "connector_of",
    "define_guest",
    "definitions",
    "devices_from_outside",
    "disconnect_volume",
    "disk_bytes",
    "dump_memory",
    "fetch_rescue_disk",
    "guest_of",
    "has_usb_cdroms",
    "has_volume_secret",
    "image_api_of",
    "instances_even_deleted",
    "is_active",
    "is_dumping",
    "is_paused",
    "make_config_drive",
    "make_volume_secret",
    "mount_shares",
    "nova_version",
    "pause_guest",
    "ports_in_neutron",
    "power_off_values",
    "power_state",
    "read_only_connection",
    "receive_events",
    "release_port",
    "replace_periodic_tasks",
    "request_shutdown",
    "rescue_disk_xml",
    "rescue_disks_of_lvm",
    "rescue_image_ref",
    "resume_guest",
    "service_user_context",
    "shares_of",
    "start_guest",
    "unsaved_block_device_info",
    "use_reentrant_connection_lock",
    "versions_of",
    "versions_without_driver",
    "volume_api_of",
    "volume_disk_xml",
    "volume_lock",
    "watched",
]
