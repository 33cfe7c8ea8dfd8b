# SPDX-License-Identifier: Apache-2.0
"""Check an RBD volume in its cluster; QEMU opens it without a device on the host."""

import errno
from typing import Any

from nova import conf as nova_conf
from oslo_log import log as logging

from stable_rescue import exception

CONF = nova_conf.CONF
LOG = logging.getLogger(__name__)

_DEFAULT_TIMEOUT = 5


def size_of(data: dict[str, Any], name: str) -> int | None:
    """Return the size of an RBD volume in bytes.

    Return None if nova-compute has no access. QEMU gets the key from libvirt, but
    nova-compute needs a keyring, which may be missing.

    :param data: the ``data`` of the connection_info that Cinder's RBD driver returns
    :param name: the volume as messages name it
    :raises Refused: if Ceph does not answer or does not have the image
    """
    try:
        import rados
        import rbd
    except ImportError:
        LOG.debug("Not checking %s: Python has no rbd module", name)
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
        raise exception.Refused(
            f"{name} is missing from its Ceph pool; ask the operator"
        ) from exc
    except (rados.Error, rbd.Error) as exc:
        if getattr(exc, "errno", None) == errno.ETIMEDOUT:
            raise exception.Refused(
                f"Ceph does not answer for {name}; try again later"
            ) from exc
        LOG.info("nova-compute has no access to %s, not checked: %s", name, exc)
        return None


def _options(data: dict[str, Any]) -> dict[str, str]:
    """Return the timeouts, and the monitors of the volume's cluster."""
    seconds = CONF.libvirt.rbd_connect_timeout
    limit = str(seconds if seconds > 0 else _DEFAULT_TIMEOUT)
    options = dict.fromkeys(
        ("client_mount_timeout", "rados_mon_op_timeout", "rados_osd_op_timeout"), limit
    )
    hosts = zip(data.get("hosts") or (), data.get("ports") or (), strict=False)
    monitors = ",".join(f"{host}:{port}" for host, port in hosts)
    return options | ({"mon_host": monitors} if monitors else {})
