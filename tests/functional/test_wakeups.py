# SPDX-License-Identifier: Apache-2.0
"""Idle threads sleep until they have work or have to end."""

from unittest import mock

import futurist
from oslotest import base

from tests import wakeups
from tests.functional import base as functional_base


class WakeupTest(base.BaseTestCase):
    def test_idle_thread_is_woken_by_work_and_by_the_end(self) -> None:
        with mock.patch.object(wakeups, "LONGEST_SLEEP", 3600):
            pool = futurist.ThreadPoolExecutor(1)
            self.assertEqual([1, 2], [pool.submit(int, n).result(60) for n in "12"])
            (thread,) = pool._workers
            pool.shutdown(wait=False)
            thread.join(60)
        self.assertFalse(thread.is_alive())


class TimersTest(functional_base.RescueTestBase):
    def test_no_service_works_by_itself(self) -> None:
        services = [self.conductor, self.scheduler, *self.computes.values()]
        services = [getattr(service, "service", service) for service in services]
        self.assertEqual([[]] * 3, [service.tg.timers for service in services])
