# SPDX-License-Identifier: Apache-2.0

"""The release of Nova that is tested with."""

import importlib.metadata
import os

RELEASE = int(importlib.metadata.version("nova").partition(".")[0])
#: Where nova-compute has native threads by default. Of Nova 33's own functional tests
#: the fixtures ask for greenlets.
FIRST_WITH_THREADS = 34


def choose_concurrency() -> None:
    """Choose native threads or eventlet, before anything else of Nova is imported.

    Nova's own variable decides; where it is not set, what nova-compute has.
    """
    threads = RELEASE >= FIRST_WITH_THREADS
    os.environ.setdefault("OS_NOVA_DISABLE_EVENTLET_PATCHING", str(int(threads)))
    from nova import monkey_patch

    # Nova 31 has chosen when this is imported.
    if hasattr(monkey_patch, "patch"):
        monkey_patch.patch()
    _keep_executors()


def _keep_executors() -> None:
    """Have no service of a test end what runs threads in this process, for all tests.

    Nova's fixture sees to that for as long as a test goes on; a service that is slow to
    end, on a busy machine, would do it behind the test.
    """
    if RELEASE >= FIRST_WITH_THREADS:
        from nova import thread_pool_factory

        thread_pool_factory.shutdown_all_executors = lambda: None
