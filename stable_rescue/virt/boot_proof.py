# SPDX-License-Identifier: Apache-2.0
"""Has the firmware booted the rescue disk? The hypervisor counts what a guest reads.

A server is RESCUED as soon as its guest runs. An image that is not bootable, or that
secure boot refuses, then shows nothing but a firmware's message on the console.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from nova import conf as nova_conf
from nova import context as nova_context
from nova import objects
from nova.virt.libvirt import driver as libvirt_driver
from oslo_log import log as logging

from stable_rescue import metrics
from stable_rescue.domain import recognize
from stable_rescue.domain.document import Domain, target_of
from stable_rescue.virt.phase import report_later
from stable_rescue.workers import Workers

CONF = nova_conf.CONF
LOG = logging.getLogger(__name__)

_POLL_SECONDS = 1.0
#: What a boot loader with its kernel reads at least. Firmware reads less of every disk
#: when it looks for boot loaders and partitions.
_BOOTED_BYTES = 2 * 2**20


def booted(bytes_read: Mapping[str, int], rescue_disk: str) -> str | None:
    """Return the disk that a guest was booted from; None if it has booted none.

    :param bytes_read: what the guest has read of each disk, by target name
    :param rescue_disk: the target name of the rescue disk. The system on it may have
        read other disks since
    """
    names = (rescue_disk, *bytes_read)
    return next((n for n in names if bytes_read.get(n, 0) >= _BOOTED_BYTES), None)


@dataclass(eq=False)
class _Boot:
    """A guest that is being watched, and what its disks are called."""

    context: nova_context.RequestContext
    instance: "objects.Instance"
    rescue_disk: str
    other_disks: list[str]
    began: float


class BootWatch:
    """Watches the guests of new rescues, all in one thread, until each is decided.

    The result is the event ``compute_rescue_verify``, which users see. Nothing else
    depends on it: the server stays RESCUED.
    """

    def __init__(
        self,
        driver: libvirt_driver.LibvirtDriver,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._driver, self._clock = driver, clock
        self._boots: dict[str, _Boot] = {}
        self._workers = Workers(lambda: 1, "stable-rescue-boots")

    def begin(
        self,
        context: nova_context.RequestContext,
        instance: "objects.Instance",
        rescue_xml: str,
    ) -> None:
        """Watch a guest whose rescue system has just been started."""
        rescue = Domain.parse(rescue_xml)
        rescue_disk = recognize.rescue_disk(rescue)
        if rescue_disk is None or not CONF.stable_rescue.verify_timeout:
            return
        target = target_of(rescue_disk)[0]
        others = [name for name, _ in map(target_of, rescue.disks()) if name != target]
        boot = _Boot(context, instance, target, others, self._clock())
        self._boots[instance.uuid] = boot
        self._workers.submit(self._watch)

    def end(self, instance: "objects.Instance") -> None:
        """Watch a guest no longer, because its rescue ends."""
        self._boots.pop(instance.uuid, None)

    def _watch(self) -> None:
        while self._boots:
            for boot in list(self._boots.values()):
                self._look(boot)
            time.sleep(_POLL_SECONDS)

    def _look(self, boot: _Boot) -> None:
        try:
            decision = self._decide(boot)
        except Exception:
            LOG.exception("Could not verify the boot", instance=boot.instance)
            self.end(boot.instance)
            return
        # The rescue may have ended meanwhile, and another may have begun.
        if decision is None or self._boots.get(boot.instance.uuid) is not boot:
            return
        self.end(boot.instance)
        seconds = self._clock() - boot.began
        result, problem = decision
        metrics.BOOTS.labels(result).inc()
        if problem:
            LOG.warning(
                "The server is RESCUED, but its rescue system did not boot within %.0f "
                "seconds: %s",
                seconds,
                problem,
                instance=boot.instance,
            )
        report_later(boot.context, boot.instance, "rescue_verify", seconds, problem)

    def _decide(self, boot: _Boot) -> tuple[str, str | None] | None:
        """Return the result and the problem, if any; None if it is too early."""
        read = self._bytes_read(boot, boot.rescue_disk)
        if read is None:
            # The guest is off, or is not the rescue any more.
            self.end(boot.instance)
            return None
        reads = {name: self._bytes_read(boot, name) or 0 for name in boot.other_disks}
        disk = booted({boot.rescue_disk: read, **reads}, boot.rescue_disk)
        if disk == boot.rescue_disk:
            LOG.info(
                "The rescue system has read %d KiB of its disk",
                read // 1024,
                instance=boot.instance,
            )
            return "booted", None
        if disk is not None:
            return (
                "other_disk",
                f"the firmware has booted {disk} instead of the rescue disk; the "
                "rescue image is not bootable on this server",
            )
        if self._clock() - boot.began >= CONF.stable_rescue.verify_timeout:
            return (
                "unread",
                f"the firmware has read {read // 1024} KiB of the rescue disk; the "
                "rescue image is not bootable on this server, or secure boot refused "
                "it",
            )
        return None

    def _bytes_read(self, boot: _Boot, target: str) -> int | None:
        """Return what the guest has read of a disk; None if that is unknown."""
        stats = self._driver.block_stats(boot.instance, target)
        return None if stats is None else int(stats[1])
