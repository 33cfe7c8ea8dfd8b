# SPDX-License-Identifier: Apache-2.0
"""Steps printed with the time."""

from __future__ import annotations

import threading
import time


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


class StepClock(Clock):
    """Prints each step with the time, and with the seconds that the step took."""

    def __init__(self) -> None:
        super().__init__()
        self._previous = 0.0

    def say(self, text: str) -> None:
        """Print a step that has just ended."""
        now = self.elapsed()
        super().say(f"{text} ({now - self._previous:.1f} s)")
        self._previous = now
