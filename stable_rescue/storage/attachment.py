# SPDX-License-Identifier: Apache-2.0
"""The attachment of a volume: how Cinder and Nova's database describe this host."""

from typing import Any

from nova import context as nova_context
from nova import exception as nova_exception
from nova import objects
from nova.virt.libvirt import driver as libvirt_driver
from oslo_serialization import jsonutils

from stable_rescue import nova_internals, steps
from stable_rescue.storage.volume import Volume

_SAVE = steps.changes("save a volume's connection")


def host_changes(info: dict[str, Any], connector: dict[str, Any]) -> list[str]:
    """Return the properties of this host that changed since a volume was attached.

    Cinder's API does not return the connector of an attachment. The current connector
    is therefore compared with what the connection_info has: the connector that older
    releases of Nova stored, and the host's Fibre Channel and NVMe addresses.
    """
    stored = info.get("connector") or {}
    data = info["data"]
    changed: list[str] = [
        key
        for key in ("initiator", "ip", "multipath", "nqn", "wwpns")
        if key in stored and key in connector and stored[key] != connector[key]
    ]
    exported_to = {_normalized(wwpn) for wwpn in data.get("initiator_target_map") or ()}
    of_host = set(map(_normalized, connector.get("wwpns") or ()))
    if exported_to and of_host and not exported_to & of_host:
        changed.append("wwpns")
    nqns = {data.get("host_nqn"), connector.get("nqn")} - {None}
    if len(nqns) > 1:
        changed.append("nqn")
    return changed


def _normalized(wwpn: str) -> str:
    return wwpn.replace(":", "").lower()


def exists(
    driver: libvirt_driver.LibvirtDriver,
    context: nova_context.RequestContext,
    instance: "objects.Instance",
    volume: Volume,
) -> bool:
    """Return True if a volume still has the same attachment to an instance.

    Both Nova's database and Cinder are asked. Errors of Cinder's client propagate.
    """
    attachment_id = volume.device["attachment_id"]
    try:
        mapping = objects.BlockDeviceMapping.get_by_volume_and_instance(
            context, volume.device.volume_id, instance.uuid
        )
        if mapping.attachment_id != attachment_id:
            return False
        if not attachment_id:  # attached by an old release of Nova
            return True
        api = nova_internals.volume_api_of(driver)
        info = api.attachment_get(context, attachment_id)["connection_info"]
    except (
        nova_exception.VolumeBDMNotFound,
        nova_exception.VolumeAttachmentNotFound,
    ):
        return False
    return info.get("instance") in (None, instance.uuid)


@steps.changes("update a volume's attachment")
def update(
    driver: libvirt_driver.LibvirtDriver,
    context: nova_context.RequestContext,
    instance: "objects.Instance",
    volume: Volume,
    connector: dict[str, Any],
) -> dict[str, Any]:
    """Let Cinder export a volume again, with this host's current connector.

    The order is Nova's for a new attachment: update, save, complete. A rescue that
    fails later keeps the update, because the old export does not fit this host any
    more. Errors of Cinder's client propagate.

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
    save(context, instance, {volume.device.volume_id: info})
    api.attachment_complete(context, attachment_id)
    return info


def save(
    context: nova_context.RequestContext,
    instance: "objects.Instance",
    infos: dict[str, dict[str, Any]],
) -> None:
    """Write each connection_info to Nova's database if the connection differs.

    Other keys, such as the attachment's status in Cinder, are no reason to write.

    :param infos: the connection_infos by volume id
    :raises nova.exception.VolumeBDMNotFound: if a volume is not the instance's any more
    """
    if not infos:
        return
    mappings = objects.BlockDeviceMappingList.get_by_instance_uuid(
        context, instance.uuid
    )
    of_volumes = {each.volume_id: each for each in mappings if each.volume_id}
    for volume_id, info in infos.items():
        if volume_id not in of_volumes:
            raise nova_exception.VolumeBDMNotFound(volume_id=volume_id)
        _save(of_volumes[volume_id], info)


def _save(mapping: "objects.BlockDeviceMapping", info: dict[str, Any]) -> None:
    stored = jsonutils.loads(mapping.connection_info or "{}")
    if all(stored.get(key) == info.get(key) for key in ("driver_volume_type", "data")):
        return
    with _SAVE:
        mapping.connection_info = jsonutils.dumps(info)
        mapping.save()
