# SPDX-License-Identifier: Apache-2.0
"""A volume's attachment: what Cinder and Nova's database know of this host."""

from typing import Any

from nova import context as nova_context
from nova import objects
from nova.virt.libvirt import driver as libvirt_driver
from oslo_serialization import jsonutils

from stable_rescue import nova_internals, steps
from stable_rescue.storage.volume import Volume


def changes(info: dict[str, Any], connector: dict[str, Any]) -> list[str]:
    """Return what of this host is known to differ from when a volume was attached.

    Cinder keeps the connector of an attachment to itself (cinder/api/v3/views/
    attachments.py). What tells are the connector that Nova's older releases have
    stashed beside the connection, and the fabric's addresses of FC and NVMe.
    """
    stashed = info.get("connector") or {}
    data = info["data"]
    found = [
        key
        for key in ("initiator", "ip", "multipath", "nqn", "wwpns")
        if key in stashed and key in connector and stashed[key] != connector[key]
    ]
    known = {_plain(wwpn) for wwpn in data.get("initiator_target_map") or ()}
    own = set(map(_plain, connector.get("wwpns") or ()))
    if known and own and not known & own:
        found.append("wwpns")
    nqns = {data.get("host_nqn"), connector.get("nqn")} - {None}
    if len(nqns) > 1:
        found.append("nqn")
    return found


def _plain(wwpn: str) -> str:
    return wwpn.replace(":", "").lower()


@steps.changes("update a volume's attachment")
def update(
    driver: libvirt_driver.LibvirtDriver,
    context: nova_context.RequestContext,
    instance: "objects.Instance",
    volume: Volume,
    connector: dict[str, Any],
) -> dict[str, Any]:
    """Have Cinder export a volume for this host as it is now.

    As Nova does when it attaches one: update, save, complete. It is not undone where
    the rescue fails, since the host is not what it was.

    :returns: the new connection_info
    """
    api = nova_internals.volume_api_of(driver)
    attachment_id = volume.device["attachment_id"]
    info: dict[str, Any] = api.attachment_update(
        context,
        attachment_id,
        connector,
        volume.device["mount_device"],
    )["connection_info"]
    info.setdefault("serial", volume.serial)
    if volume.device["connection_info"].get("multiattach"):
        info["multiattach"] = True
    save(context, instance, volume, info)
    api.attachment_complete(context, attachment_id)
    return info


def save(
    context: nova_context.RequestContext,
    instance: "objects.Instance",
    volume: Volume,
    info: dict[str, Any],
) -> None:
    """Have Nova's database know of a connection, where it does not yet.

    Beside it, Nova keeps what Cinder said of the attachment's state at some time.
    """
    found = objects.BlockDeviceMapping.get_by_volume_and_instance(
        context, volume.device.volume_id, instance.uuid
    )
    known = jsonutils.loads(found.connection_info or "{}")
    if any(known.get(key) != info.get(key) for key in ("driver_volume_type", "data")):
        _write(found, info)


@steps.changes("save a volume's connection")
def _write(found: "objects.BlockDeviceMapping", info: dict[str, Any]) -> None:
    found.connection_info = jsonutils.dumps(info)
    found.save()
