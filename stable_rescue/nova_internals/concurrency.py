# SPDX-License-Identifier: Apache-2.0
"""Whether nova-compute runs with native threads or with eventlet."""

from nova import utils


def has_threads() -> bool:
    """Return True if Nova runs with native threads, which it can since release 34."""
    is_threading = getattr(utils, "concurrency_mode_threading", None)
    return bool(is_threading and is_threading())
