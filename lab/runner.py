# SPDX-License-Identifier: Apache-2.0
"""Bring services up side by side, each as soon as those it requires are ready."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence

from lab.config import Lab
from lab.errors import LabError
from lab.service import Service

#: Nothing in a bring-up takes as long; only so that no wait is without an end.
LONGEST_SECONDS = 1800.0


class Clock:
    """Prints steps with the seconds since the start; safe to use from threads."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self._lock = threading.Lock()

    def elapsed(self) -> float:
        """Return seconds since the start."""
        return time.monotonic() - self.began

    def say(self, text: str) -> None:
        """Print one step."""
        with self._lock:
            print(f"[{self.elapsed():6.1f}s] {text}", flush=True)


class Runner:
    """Takes services through their steps, each in a thread of its own."""

    def __init__(
        self, lab: Lab, services: Sequence[Service], say: Callable[[str], None]
    ) -> None:
        self.lab = lab
        self.services = services
        self.say = say
        self.failures: list[LabError] = []
        self._failed = threading.Event()
        self._done = {service.name: threading.Event() for service in services}
        for service in services:
            unknown = set(self._needs(service)) - set(self._done)
            if unknown:
                raise LabError(f"{service.name} requires {', '.join(sorted(unknown))}")

    def run(self) -> None:
        """Bring every service up; raise the first LabError of any of them."""
        for service in self.services:
            service.configure()
        threads = [
            # Daemons, so that Ctrl-C does not wait for them.
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
                self._done[service.name].set()
        except LabError as error:
            self._fail(LabError(f"{service.name}: {error}"))
        except Exception as error:  # noqa: BLE001 - a thread's traceback would scroll by unseen
            failure = LabError(f"{service.name}: {error!r}")
            failure.__cause__ = error
            self._fail(failure)

    def _fail(self, error: LabError) -> None:
        self.failures.append(error)
        self._failed.set()

    def _bring_up(self, service: Service) -> bool:
        """Return whether ``service`` is up; false if another one failed before."""
        early = service.prepare_requires
        if not self._await(service.needs() if early is None else early):
            return False
        began = time.monotonic()
        once(self.lab, service, "prepare")
        prepared = time.monotonic()
        if not self._await(service.needs()):
            return False
        started = time.monotonic()
        already = service.ready()
        if not already:
            service.start()
            service.wait_ready()
        ready = time.monotonic()
        populated = once(self.lab, service, "populate")
        if not already or populated:
            self.say(
                f"{service.name} ready"
                f" (prepared in {prepared - began:.1f} s,"
                f" started in {ready - started:.1f} s,"
                f" populated in {time.monotonic() - ready:.1f} s)"
            )
        return True

    def _await(self, names: Iterable[str]) -> bool:
        deadline = time.monotonic() + LONGEST_SECONDS
        for name in names:
            while not self._done[name].wait(0.05):
                if self._failed.is_set() or time.monotonic() > deadline:
                    return False
        return not self._failed.is_set()


def once(lab: Lab, service: Service, step: str) -> bool:
    """Call a step of ``service`` unless it was done; return whether it was called."""
    stamp = lab.data("stamps") / f"{service.name}.{step}"
    if stamp.exists():
        return False
    getattr(service, step)()
    stamp.touch()
    return True
