# SPDX-License-Identifier: Apache-2.0
"""The block devices of a server that is to be rescued, all of them, from the database.

Root, ephemerals, swap and every volume, with the connections that Cinder has now.
"""

from typing import Any

from cinderclient import exceptions as cinder_exception
from keystoneauth1 import exceptions as keystone_exception
from nova import context as nova_context
from nova import exception as nova_exception
from nova import objects
from nova.compute import manager
from nova.virt import driver as virt_driver
from oslo_log import log as logging

from stable_rescue import exception, nova_internals

LOG = logging.getLogger(__name__)


def rebuild(
    compute: manager.ComputeManager,
    context: nova_context.RequestContext,
    instance: "objects.Instance",
) -> dict[str, Any]:
    """Return an instance's block devices as drivers take them, connections fresh.

    Nothing is changed, in Cinder or in the database.

    :raises Refused: where Cinder does not answer, or does not have a volume as
        attached to this instance and in use
    """
    stored = nova_internals.block_device_info(context, instance)
    volumes = virt_driver.block_device_info_get_mapping(stored)
    try:
        for volume in volumes:
            _check(compute.volume_api.get(context, volume.volume_id), instance)
        return nova_internals.fresh_block_device_info(compute, context, instance)
    except nova_exception.VolumeNotFound as exc:
        raise exception.Refused(exc.format_message().rstrip(".")) from exc
    except nova_exception.VolumeAttachmentNotFound as exc:
        gone = exc.kwargs.get("attachment_id")
        ids = [v.volume_id for v in volumes if v["attachment_id"] == gone]
        raise exception.Refused(
            f"volume {', '.join(ids)} is not attached to the server any more"
        ) from exc
    except exception.Refused:
        raise
    except _NO_ANSWER as exc:
        LOG.exception("Cinder does not answer", instance=instance)
        raise exception.Refused(
            "the volume service does not answer, and the server has volumes"
        ) from exc


_NO_ANSWER = (
    nova_exception.CinderConnectionFailed,
    cinder_exception.ClientException,
    keystone_exception.ClientException,
)


def _check(volume: dict[str, Any], instance: "objects.Instance") -> None:
    """Check that Cinder has a volume as Nova does: a rescue needs every one."""
    if volume["status"] != "in-use":
        raise exception.Refused(
            f"volume {volume['id']} is {volume['status']}, not in-use"
        )
    if instance.uuid not in volume.get("attachments", {instance.uuid: None}):
        raise exception.Refused(
            f"volume {volume['id']} is not attached to the server any more"
        )
