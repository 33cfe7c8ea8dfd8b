# SPDX-License-Identifier: Apache-2.0
"""A guest is asked to shut down until it has, but not longer than it may take."""

from collections.abc import Callable
from unittest import mock

import libvirt
from nova import conf as nova_conf
from oslotest import base

from stable_rescue.virt import shutdown

TIMEOUT = 12  # seconds


class Guest:
    """A guest that shuts down some seconds after a request that it hears."""

    def __init__(self, hears: Callable[[int], bool], seconds: float) -> None:
        self.now = 0.0
        self.requests = 0
        self._hears, self._seconds = hears, seconds
        self._ends_at = float("inf")

    def shutdown(self) -> None:
        self.requests += 1
        if not self._hears(self.requests):
            raise libvirt.libvirtError("guest agent is not responding")
        self._ends_at = min(self._ends_at, self.now + self._seconds)

    def is_active(self) -> bool:
        return self.now < self._ends_at

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class ShutdownTest(base.BaseTestCase):
    def wait_for(self, guest: Guest) -> bool:
        driver, instance = mock.Mock(), mock.Mock()
        driver._host.get_guest.return_value = guest
        instance.system_metadata = {"image_os_shutdown_timeout": str(TIMEOUT)}
        clock = mock.Mock(monotonic=lambda: guest.now, sleep=guest.sleep)
        with mock.patch.object(shutdown, "time", clock):
            return shutdown.wait_for(driver, instance)

    def test_shutdown_is_noticed_at_once(self) -> None:
        guest = Guest(lambda _request: True, seconds=3)
        self.assertTrue(self.wait_for(guest))
        self.assertEqual(1, guest.requests)
        self.assertLess(guest.now, 3.1)

    def test_guest_that_misses_requests_is_asked_again(self) -> None:
        guest = Guest(lambda request: request == 3, seconds=0)
        self.assertTrue(self.wait_for(guest))
        self.assertEqual(3, guest.requests)

    def test_guest_that_goes_on_is_given_up_after_its_timeout(self) -> None:
        guest = Guest(lambda _request: True, seconds=TIMEOUT + 1)
        self.assertFalse(self.wait_for(guest))
        self.assertLess(guest.now - TIMEOUT, 0.1)

    def test_timeout_of_zero_asks_nobody(self) -> None:
        guest = Guest(lambda _request: True, seconds=0)
        with mock.patch.object(nova_conf.CONF, "shutdown_timeout", 0):
            driver = mock.Mock()
            driver._host.get_guest.return_value = guest
            instance = mock.Mock(system_metadata={})
            self.assertFalse(shutdown.wait_for(driver, instance))
        self.assertEqual(0, guest.requests)
