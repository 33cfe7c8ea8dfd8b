# SPDX-License-Identifier: Apache-2.0
"""The full block device mapping of a server that is about to be rescued.

Root, ephemeral and swap disks come from Nova's database, every volume with the
connection that Cinder has now. Cinder is asked for several volumes at once.
"""

from typing import Any

from cinderclient import exceptions as cinder_exception
from keystoneauth1 import exceptions as keystone_exception
from nova import conf as nova_conf
from nova import context as nova_context
from nova import exception as nova_exception
from nova import objects
from nova.compute import manager
from nova.virt import driver as virt_driver
from oslo_log import log as logging

from stable_rescue import exception, nova_internals, parallel

CONF = nova_conf.CONF
LOG = logging.getLogger(__name__)

_CINDER_FAILED = (
    nova_exception.CinderConnectionFailed,
    cinder_exception.ClientException,
    keystone_exception.ClientException,
)


def rebuild(
    compute: manager.ComputeManager,
    context: nova_context.RequestContext,
    instance: "objects.Instance",
) -> dict[str, Any]:
    """Return an instance's block devices as Nova passes them to drivers.

    Nothing is changed in Cinder or in the database.

    :raises Refused: if Cinder does not answer, or if a volume is not attached to this
        instance or not in use
    """
    info = nova_internals.unsaved_block_device_info(context, instance)
    volumes = virt_driver.block_device_info_get_mapping(info)

    def ask_cinder(volume: Any) -> None:
        _check(compute.volume_api.get(context, volume.volume_id), instance)
        volume.refresh_connection_info(
            context, instance, compute.volume_api, compute.driver
        )

    workers = CONF.stable_rescue.volume_connect_workers
    try:
        parallel.for_each(context, volumes, ask_cinder, workers)
    except nova_exception.VolumeNotFound as exc:
        raise exception.Refused(exc.format_message().rstrip(".")) from exc
    except nova_exception.VolumeAttachmentNotFound as exc:
        attachment_id = exc.kwargs.get("attachment_id")
        volume_ids = [
            volume.volume_id
            for volume in volumes
            if volume["attachment_id"] == attachment_id
        ]
        raise exception.Refused(
            f"volume {', '.join(volume_ids)} is not attached to the server any more; "
            "ask the operator"
        ) from exc
    except _CINDER_FAILED as exc:
        LOG.exception(
            "Could not read the volumes from Cinder; a rescue of the server is refused "
            "until Cinder answers",
            instance=instance,
        )
        raise exception.Refused(
            "the volume service does not answer, so the server's volumes cannot be "
            "checked; try again later"
        ) from exc
    return info


def _check(volume: dict[str, Any], instance: "objects.Instance") -> None:
    """Refuse the rescue unless Cinder agrees that the instance uses the volume."""
    if volume["status"] != "in-use":
        raise exception.Refused(
            f"volume {volume['id']} is {volume['status']}, not in-use; try again later "
            "or ask the operator"
        )
    if instance.uuid not in volume.get("attachments", {instance.uuid: None}):
        raise exception.Refused(
            f"volume {volume['id']} is not attached to the server any more; "
            "ask the operator"
        )
