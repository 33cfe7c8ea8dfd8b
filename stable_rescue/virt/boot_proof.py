# SPDX-License-Identifier: Apache-2.0
"""Has the firmware booted the rescue disk? QEMU counts what a guest reads (F9).

A server is RESCUED as soon as its guest runs. An image that is not bootable, or that
secure boot refuses, then shows nothing but a firmware's message on the console.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from nova import conf as nova_conf
from nova import context as nova_context
from nova import objects
from nova.virt.libvirt import driver as libvirt_driver
from oslo_log import log as logging

from stable_rescue import metrics
from stable_rescue.domain import booted
from stable_rescue.domain.document import Domain
from stable_rescue.virt import evidence
from stable_rescue.virt.phase import report_later
from stable_rescue.workers import Workers

CONF = nova_conf.CONF
LOG = logging.getLogger(__name__)

_POLL_SECONDS = 1.0


@dataclass(eq=False)
class _Boot:
    """A guest that is being watched; the first target is the rescue disk's."""

    context: nova_context.RequestContext
    instance: "objects.Instance"
    rescue: Domain
    targets: list[str]
    began: float


@dataclass(frozen=True)
class _Decision:
    """The result of a boot; ``problem`` is for the tenant, None if all is right."""

    result: str
    problem: str | None = None


# Nothing more can be learned about the guest.
_UNKNOWN = _Decision("unknown")


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
        targets = booted.targets(rescue)
        if not (targets and CONF.stable_rescue.verify_timeout):
            return
        boot = _Boot(context, instance, rescue, targets, self._clock())
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
        except Exception as exc:  # noqa: BLE001 - libvirt may be gone, and is logged
            LOG.warning("Could not verify the boot: %s", exc, instance=boot.instance)
            decision = _UNKNOWN
        # The rescue may have ended meanwhile, and another may have begun.
        if decision is None or self._boots.get(boot.instance.uuid) is not boot:
            return
        self.end(boot.instance)
        if decision is _UNKNOWN:
            return
        seconds = self._clock() - boot.began
        metrics.BOOTS.labels(decision.result).inc()
        if decision.problem:
            LOG.warning(
                "The server is RESCUED, but its rescue system did not boot within %.0f "
                "seconds: %s",
                seconds,
                decision.problem,
                instance=boot.instance,
            )
        evidence.booted(self._driver, boot.instance, decision.result, decision.problem)
        report_later(
            boot.context, boot.instance, "rescue_verify", seconds, decision.problem
        )

    def _decide(self, boot: _Boot) -> _Decision | None:
        """Return what was booted; None if it is too early to say."""
        rescue_disk, *others = boot.targets
        reads = self._bytes_read(boot, [rescue_disk])
        if not reads:
            # The guest is off, or is not the rescue any more.
            return _UNKNOWN
        kibibytes = reads[rescue_disk] // 1024
        disk = booted.booted_disk(boot.rescue, reads)
        if disk is not None:
            LOG.info(
                "The rescue system has read %d KiB of its disk",
                kibibytes,
                instance=boot.instance,
            )
            return _Decision("booted")
        disk = booted.booted_disk(boot.rescue, self._bytes_read(boot, others))
        if disk is not None:
            return _Decision(
                "other_disk",
                f"the firmware has booted {disk} instead of the rescue disk; the "
                "rescue image is not bootable on this server",
            )
        if self._clock() - boot.began >= CONF.stable_rescue.verify_timeout:
            return _Decision(
                "unread",
                f"the firmware has read {kibibytes} KiB of the rescue disk; the "
                "rescue image is not bootable on this server, or secure boot refused "
                "it",
            )
        return None

    def _bytes_read(self, boot: _Boot, targets: list[str]) -> dict[str, int]:
        """Return what the guest has read of disks, if that is known."""
        stats = {t: self._driver.block_stats(boot.instance, t) for t in targets}
        return {name: int(each[1]) for name, each in stats.items() if each}
