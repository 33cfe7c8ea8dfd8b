# SPDX-License-Identifier: Apache-2.0
"""What Nova's image cache has to keep because of rescues (U23).

Nova removes a base image from the cache if no instance was made from it, even while
a rescue disk is backed by it. Two things prevent that. Recorded rescues are passed to
Nova as instances that were made from the rescue image. And all base images that back
a disk of a domain on this host get a new time stamp, so that Nova finds them too young
to remove: the domain may be in a stock rescue, or the record may be lost.
"""

import os.path
from collections.abc import Collection, Iterator
from pathlib import Path

import nova.privsep.path
from lxml import etree
from nova import conf as nova_conf
from nova import objects
from nova.virt.libvirt import driver as libvirt_driver
from nova.virt.libvirt import utils as libvirt_utils
from oslo_log import log as logging

from stable_rescue import nova_internals
from stable_rescue.domain import sources
from stable_rescue.domain.document import Domain
from stable_rescue.storage import store

CONF = nova_conf.CONF
LOG = logging.getLogger(__name__)


def in_use(
    driver: libvirt_driver.LibvirtDriver, instances: Collection["objects.Instance"]
) -> list["objects.Instance"]:
    """Return the instances, and a stand-in for each of their recorded rescues.

    A stand-in is a copy of the instance that names the rescue image as its own, and is
    never saved. The base images of this host's domains get a new time stamp. Errors of
    libvirt propagate.
    """
    for base in _bases(driver):
        nova.privsep.path.utime(base)
    all_instances = list(instances)
    for instance in instances:
        record = store.load(instance)
        if record is not None:
            stand_in = instance.obj_clone()
            stand_in.image_ref = record.image_id
            all_instances.append(stand_in)
    return all_instances


def _bases(driver: libvirt_driver.LibvirtDriver) -> set[str]:
    """Return the files in Nova's image cache that back a disk of a domain."""
    cache = os.path.join(  # noqa: PTH118 - as Nova does
        CONF.instances_path, CONF.image_cache.subdirectory_name
    )
    bases: set[str] = set()
    for xml in nova_internals.definitions(driver):
        for disk in Domain.parse(xml).disks():
            try:
                bases.update(
                    path
                    for path in backing_files(disk)
                    if os.path.dirname(path) == cache  # noqa: PTH120
                    and os.path.exists(path)  # noqa: PTH110
                )
            except Exception:
                LOG.warning(
                    "Failed to read the backing file of %s; Nova may remove it from "
                    "the image cache",
                    sources.path_of(disk),
                    exc_info=True,
                )
    return bases


def backing_files(disk: etree._Element) -> Iterator[str]:
    """Yield the backing files of a disk.

    libvirt lists the backing files of a guest that runs. If the guest is off, qemu-img
    reads its local disks; errors propagate.
    """
    chain = disk.findall(".//backingStore/source")
    if chain:
        yield from (source.get("file", "") for source in chain)
        return
    path, driver = sources.path_of(disk), disk.find("driver")
    if (
        path is not None
        and driver is not None
        and driver.get("type") == "qcow2"
        # Other files may be volumes on storage that does not answer.
        and Path(CONF.instances_path) in Path(path).parents
    ):
        backing = libvirt_utils.get_disk_backing_file(
            path, basename=False, format="qcow2"
        )
        if backing:
            yield os.path.join(os.path.dirname(path), backing)  # noqa: PTH118, PTH120
