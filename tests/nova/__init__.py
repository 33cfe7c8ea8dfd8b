# SPDX-License-Identifier: Apache-2.0

"""Nova's tests, run with the classes of stable rescue."""

from tests import release

release.choose_concurrency()

# These import parts of OpenStack, which must come after the choice.
from tests import lazy_policy, shared_results, wakeups  # noqa: E402

shared_results.share()
lazy_policy.load_when_checked()
wakeups.wake_by_work()
