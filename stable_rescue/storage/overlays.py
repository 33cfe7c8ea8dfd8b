# SPDX-License-Identifier: Apache-2.0
"""The overlays of a rescue that discards what it writes, in the instance's directory.

An overlay is made once, while the guest still runs its own system, and removed with the
rescue. If it were made again, what the rescue system has written would be lost.

The header of an overlay names no backing file: the definition does (E8). A path in the
header could belong to another server's volume after the next boot of the host.

What bounds the size of an overlay? The file is as long as it may become, but sparse.
The definition lets QEMU use that many bytes of it and no more, so that a write that
needs more fails with ENOSPC (F37). An overlay for a small disk needs no bound, because
it holds at most the disk and its metadata.
"""

import os
from pathlib import Path

from lxml import etree
from nova import conf as nova_conf
from nova import objects
from nova.privsep import utils as nova_privsep_utils
from nova.virt import images
from nova.virt.libvirt import driver as libvirt_driver
from nova.virt.libvirt import utils as libvirt_utils
from oslo_concurrency import processutils
from oslo_log import log as logging
from oslo_utils import units

from stable_rescue import exception, nova_internals, steps
from stable_rescue.domain import document, overlays, recognize
from stable_rescue.domain.overlays import Overlays
from stable_rescue.plan import RescuePlan
from stable_rescue.storage import deadline, files, store

CONF = nova_conf.CONF
LOG = logging.getLogger(__name__)

_PATTERN = f"{recognize.OVERLAY}*{recognize.RESCUE_SUFFIX}"
_WITHOUT_PAGE_CACHE = ("none", "directsync")
# For each cluster of 64 KiB, qcow2 has 8 bytes in a table and 2 of a reference count.
# The header and the tables of tables of an empty file take less than a MiB.
_PER_BYTE_OF_METADATA = 4096
_METADATA = units.Mi


class RescueOverlays:
    """The overlays of one instance's rescue."""

    def __init__(
        self, driver: libvirt_driver.LibvirtDriver, instance: "objects.Instance"
    ) -> None:
        self._driver = driver
        self._instance = instance
        self._sizes: dict[str, int] = {}

    def describe(self) -> Overlays:
        """Return where the overlays are, and their limits if the disks are measured."""
        lengths = self._lengths()
        bound = _bound()
        limits = {
            target: bound for target, length in lengths.items() if length == bound
        }
        return Overlays(_folder(self._instance), limits)

    def measure(self, plan: RescuePlan, is_active: bool) -> None:
        """Read the sizes of the disks that a plan gives an overlay; nothing is changed.

        Errors of libvirt and of qemu-img propagate.

        :param is_active: the guest runs, so that libvirt knows its disks; otherwise,
            its volumes must be connected
        :raises Refused: if the host has not the space that the overlays may take, or
            cannot use them as it uses a disk
        """
        disks = {document.target_of(disk)[0]: disk for disk in plan.original.disks()}
        targets = overlays.targets(plan.rescue)
        _check_direct_io(self._instance, [disks[target] for target in targets])
        self._sizes = {
            target: nova_internals.disk_bytes(self._driver, self._instance, target)
            if is_active
            else _size_of(disks[target], target)
            for target in targets
        }
        _check_space(self._instance, sum(self._lengths().values()))

    def make(self) -> None:
        """Make an overlay for each disk that was measured.

        :raises Refused: if qemu-img fails
        :raises OSError: if an overlay cannot be written
        """
        lengths = self._lengths()
        for target, size in self._sizes.items():
            path = _path(self._instance, target)
            _make(path, size, lengths[target])

    def _lengths(self) -> dict[str, int]:
        """Return the length of each file, which is the most that it can hold."""
        bound = _bound()
        needed = {t: largest_overlay(size) for t, size in self._sizes.items()}
        return {t: min(bound or length, length) for t, length in needed.items()}


def remove(instance: "objects.Instance") -> None:
    """Remove the overlays of an instance, with all that its rescue has written.

    A missing file is no error.

    :raises OSError: if a file cannot be removed
    """
    for path in in_folder(Path(_folder(instance))):
        files.remove(path)


def remove_one(instance: "objects.Instance", target: str) -> None:
    """Remove the overlay of one disk, if it has one.

    :raises OSError: if the file cannot be removed
    """
    path = _path(instance, target)
    if path.exists():
        files.remove(path)


def exist(instance: "objects.Instance") -> bool:
    """Return True if an instance has overlays, used or not."""
    return bool(in_folder(Path(_folder(instance))))


def in_folder(directory: Path) -> list[Path]:
    """Return the overlays in a directory, sorted."""
    return sorted(directory.glob(_PATTERN))


def largest_overlay(size: int) -> int:
    """Return how long an overlay becomes if the whole disk is written, at most.

    :param size: of the disk in bytes; the result is in bytes as well
    """
    whole = -(-size // _PER_BYTE_OF_METADATA) * (_PER_BYTE_OF_METADATA + 1)
    return -(-(whole + _METADATA) // units.Mi) * units.Mi


def _bound() -> int:
    """Return the largest length of an overlay in bytes; 0 if there is no bound."""
    return int(CONF.stable_rescue.overlay_max_size * units.Gi)


def _folder(instance: "objects.Instance") -> str:
    return str(libvirt_utils.get_instance_path(instance))


def _path(instance: "objects.Instance", target: str) -> Path:
    return Path(Overlays(_folder(instance)).overlay_of(target).path)


@steps.changes("make an overlay")
def _make(path: Path, size: int, length: int) -> None:
    """Make an overlay for a disk of a size, as long as it may become.

    :raises Refused: if qemu-img fails
    :raises OSError: if the file cannot be written
    """
    try:
        libvirt_utils.create_image(str(path), "qcow2", size)
    except processutils.ProcessExecutionError as exc:
        LOG.error("Failed to make the overlay %s: %s", path, exc)
        raise exception.Refused(
            "the compute host cannot make a file for what the rescue system writes; "
            "ask the operator"
        ) from exc
    os.truncate(path, length)
    files.flush(path)


def _size_of(disk: etree._Element, target: str) -> int:
    """Return the size of a disk that no guest uses, as the guest would see it.

    :raises Refused: if the host cannot read the disk
    """
    image_format = overlays.format_of(disk)
    if disk.find(".//encryption[@format='luks']") is not None and image_format == "raw":
        image_format = "luks"  # QEMU's driver subtracts the header
    path = _path_for_qemu_img(disk, target)
    info = deadline.limited(
        f"disk {target}", lambda: images.privileged_qemu_img_info(path, image_format)
    )
    return int(info.virtual_size)


def _path_for_qemu_img(disk: etree._Element, target: str) -> str:
    source = disk.find("source")
    assert source is not None  # a disk without one has no overlay
    path = source.get("file") or source.get("dev")
    if path:
        return path
    if source.get("protocol") == "rbd":
        auth = disk.find(".//auth")
        user = f":id={auth.get('username')}" if auth is not None else ""
        return f"rbd:{source.get('name')}{user}"
    raise exception.Refused(
        f"the size of disk {target} is not known while the server is stopped; start "
        "the server first, or use a rescue image without hw_rescue_writes=discard"
    )


def _check_direct_io(instance: "objects.Instance", disks: list[etree._Element]) -> None:
    """Check that an overlay can be used with the settings of its disk."""
    direct = [
        document.target_of(disk)[0]
        for disk in disks
        if disk.xpath("string(driver/@cache)") in _WITHOUT_PAGE_CACHE
    ]
    if direct and not nova_privsep_utils.supports_direct_io(_folder(instance)):
        raise exception.Refused(
            f"disk {direct[0]} is used without the host's page cache, which the file "
            "system of the compute host's instances does not support, so its writes "
            "cannot be discarded; ask the operator"
        )


def _check_space(instance: "objects.Instance", needed: int) -> None:
    """Check that the host has space for overlays, besides those that it has already.

    :param needed: bytes that the new overlays may take
    """
    status = os.statvfs(_folder(instance))
    free = status.f_bavail * status.f_frsize - sum(map(_unused, _all_overlays()))
    if needed > free:
        LOG.warning(
            "The overlays of a rescue may need %s GiB, and %s GiB are free; free space "
            "or lower [stable_rescue] overlay_max_size",
            _in_gib(needed),
            _in_gib(free),
            instance=instance,
        )
        raise exception.Refused(
            "the compute host has no space for what the rescue system may write to the "
            "server's disks; ask the operator"
        )


def _all_overlays() -> list[Path]:
    return [
        path
        for directory in store.instance_directories()
        for path in in_folder(directory)
    ]


def _unused(path: Path) -> int:
    """Return how many bytes an overlay may still grow; 0 if it was removed."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return 0
    return max(0, status.st_size - status.st_blocks * 512)


def _in_gib(size: int) -> str:
    return f"{max(size, 0) / units.Gi:.1f}"
