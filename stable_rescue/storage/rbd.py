# SPDX-License-Identifier: Apache-2.0
"""A look at an RBD volume, which QEMU opens itself: nothing of it is on the host."""

import errno
from typing import Any

from nova import conf as nova_conf
from oslo_log import log as logging

from stable_rescue import exception

CONF = nova_conf.CONF
LOG = logging.getLogger(__name__)

_DEFAULT_TIMEOUT = 5


def size_of(data: dict[str, Any], name: str) -> int | None:
    """Return an RBD volume's size in bytes.

    None, where this host's Ceph client may not look: QEMU has its key from libvirt,
    nova-compute from a keyring that may not be there.

    :param data: of the volume's connection_info, as Cinder's RBD driver gives it
    :param name: what to call the volume
    :raises Refused: where Ceph does not answer, or has no such image
    """
    try:
        import rados
        import rbd
    except ImportError:
        LOG.debug("%s: not looked at, there is no rbd module", name)
        return None
    pool, _slash, image_name = data["name"].partition("/")
    try:
        with (
            rados.Rados(
                rados_id=data.get("auth_username") or CONF.libvirt.rbd_user,
                conffile=CONF.libvirt.images_rbd_ceph_conf,
                conf=_options(data),
            ) as cluster,
            cluster.open_ioctx(pool) as ioctx,
            rbd.Image(ioctx, image_name, read_only=True) as image,
        ):
            return int(image.size())
    except rbd.ImageNotFound as exc:
        raise exception.Refused(f"{name} is not there in its Ceph pool") from exc
    except (rados.Error, rbd.Error) as exc:
        if getattr(exc, "errno", None) == errno.ETIMEDOUT:
            raise exception.Refused(f"{name}: Ceph does not answer") from exc
        LOG.info("%s: nova-compute may not look at it: %s", name, exc)
        return None


def _options(data: dict[str, Any]) -> dict[str, str]:
    """Return how to reach a volume's own cluster, and how long to wait for it."""
    seconds = CONF.libvirt.rbd_connect_timeout
    limit = str(seconds if seconds > 0 else _DEFAULT_TIMEOUT)
    options = dict.fromkeys(
        ("client_mount_timeout", "rados_mon_op_timeout", "rados_osd_op_timeout"), limit
    )
    hosts = zip(data.get("hosts") or (), data.get("ports") or (), strict=False)
    monitors = ",".join(f"{host}:{port}" for host, port in hosts)
    return options | ({"mon_host": monitors} if monitors else {})
