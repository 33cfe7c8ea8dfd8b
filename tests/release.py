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
