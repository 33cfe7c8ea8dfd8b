# SPDX-License-Identifier: Apache-2.0
"""Signals that this process gets, and signals that it sends to a known process."""

from __future__ import annotations

import os
import signal

from lab import procfs


def exit_on_signals() -> None:
    """Let SIGTERM and SIGHUP raise SystemExit, so that ``finally`` blocks run.

    SIGHUP stays ignored under nohup.
    """

    def leave(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, leave)


def send(process: procfs.ProcessId, number: signal.Signals) -> None:
    """Send a signal to ``process``; do nothing if it has ended."""
    if process.alive():
        os.kill(process.pid, number)
