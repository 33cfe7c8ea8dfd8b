# SPDX-License-Identifier: Apache-2.0

"""The installed release of Nova, and what the tests do differently for it."""

import importlib.metadata
import os

RELEASE = int(importlib.metadata.version("nova").partition(".")[0])
#: The first release whose nova-compute uses native threads by default and whose
#: functional test fixtures do so as well.
FIRST_WITH_THREADS = 34


def choose_concurrency() -> None:
    """Choose native threads or eventlet; call this before Nova is imported.

    Nova's environment variable decides. If it is not set, the tests use what
    nova-compute uses by default.
    """
    threads = RELEASE >= FIRST_WITH_THREADS
    os.environ.setdefault("OS_NOVA_DISABLE_EVENTLET_PATCHING", str(int(threads)))
    from nova import monkey_patch

    # Nova 31 chooses while nova.monkey_patch is imported.
    if hasattr(monkey_patch, "patch"):
        monkey_patch.patch()
    _keep_executors()


def has_native_threads() -> bool:
    """Return True if Nova uses native threads instead of eventlet in this process."""
    if RELEASE < FIRST_WITH_THREADS:
        return False
    from nova import utils

    return bool(utils.concurrency_mode_threading())


def _keep_executors() -> None:
    """Keep the thread pools of this process, which all tests share.

    A service shuts them down when it stops. Nova's fixture prevents that during a test,
    but on a busy machine a service may stop after its test has ended.
    """
    if RELEASE >= FIRST_WITH_THREADS:
        from nova import thread_pool_factory

        thread_pool_factory.shutdown_all_executors = lambda: None
