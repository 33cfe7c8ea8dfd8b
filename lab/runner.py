# SPDX-License-Identifier: Apache-2.0
"""Bring services up in parallel, each as soon as the services it requires are ready."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence

from lab.config import Lab
from lab.errors import LabError
from lab.service import Service

#: No step takes this long; the limit only keeps a wait from lasting for ever.
LONGEST_SECONDS = 1800.0


class Runner:
    """Takes services through their steps, each service in its own thread.

    :raises LabError: if a service requires one that is not among ``services``
    """

    def __init__(
        self, lab: Lab, services: Sequence[Service], say: Callable[[str], None]
    ) -> None:
        self.lab = lab
        self.services = services
        self.say = say
        self.failures: list[LabError] = []
        self._failed = threading.Event()
        self._up = {service.name: threading.Event() for service in services}
        for service in services:
            unknown = set(self._needs(service)) - set(self._up)
            if unknown:
                missing = ", ".join(sorted(unknown))
                raise LabError(f"{service.name} requires {missing}: no such service.")

    def run(self) -> None:
        """Bring every service up; raise the first LabError of any of them."""
        for service in self.services:
            service.configure()
        threads = [
            # Daemon threads, so that Ctrl-C does not wait for them.
            threading.Thread(target=self._thread, args=(service,), daemon=True)
            for service in self.services
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self.failures:
            raise self.failures[0]

    @staticmethod
    def _needs(service: Service) -> tuple[str, ...]:
        return (*service.needs(), *(service.prepare_requires or ()))

    def _thread(self, service: Service) -> None:
        try:
            if self._bring_up(service):
                self._up[service.name].set()
        except LabError as error:
            self._fail(LabError(f"{service.name}: {error}"))
        except Exception as error:  # noqa: BLE001 - nobody would see a thread's traceback
            failure = LabError(f"{service.name}: {error!r}")
            failure.__cause__ = error
            self._fail(failure)

    def _fail(self, error: LabError) -> None:
        self.failures.append(error)
        self._failed.set()

    def _bring_up(self, service: Service) -> bool:
        """Return True if ``service`` is up, False if another service has failed."""
        early = service.prepare_requires
        if not self._await(service.needs() if early is None else early):
            return False
        began = time.monotonic()
        once(self.lab, service, "prepare")
        prepared = time.monotonic()
        if not self._await(service.needs()):
            return False
        started = time.monotonic()
        was_ready = service.ready()
        if not was_ready:
            service.start()
            service.wait_ready()
        ready = time.monotonic()
        populated = once(self.lab, service, "populate")
        if not was_ready or populated:
            self.say(
                f"{service.name} ready"
                f" (prepared in {prepared - began:.1f} s,"
                f" started in {ready - started:.1f} s,"
                f" populated in {time.monotonic() - ready:.1f} s)"
            )
        return True

    def _await(self, names: Iterable[str]) -> bool:
        """Wait for services; return False if one has failed or the time is over."""
        deadline = time.monotonic() + LONGEST_SECONDS
        for name in names:
            while not self._up[name].wait(0.05):
                if self._failed.is_set() or time.monotonic() > deadline:
                    return False
        return not self._failed.is_set()


def once(lab: Lab, service: Service, step: str) -> bool:
    """Call a step of ``service`` unless it is done; return True if it was called."""
    stamp = lab.data("stamps") / f"{service.name}.{step}"
    if stamp.exists():
        return False
    getattr(service, step)()
    stamp.touch()
    return True
