# SPDX-License-Identifier: Apache-2.0
"""A guest is asked to shut down until it has, but not longer than it may take."""

import threading
from collections.abc import Callable
from unittest import mock

import libvirt
from nova import conf as nova_conf
from oslotest import base

from stable_rescue import nova_internals
from stable_rescue.nova_internals import concurrency, guest_events
from stable_rescue.virt import shutdown

TIMEOUT = 12  # seconds
INSTANCE = "0f4b0a6e-7c3c-4d5e-9f60-5a1b2c3d4e35"


class Guest:
    """A guest that shuts down some seconds after a request that it hears."""

    def __init__(self, hears: Callable[[int], bool], seconds: float) -> None:
        self.now = 0.0
        self.requests = 0
        self._hears, self._seconds = hears, seconds
        self._ends_at = float("inf")
        self.looks = 0
        #: Whether libvirt reports the stop, and something else all the time.
        self.reports = self.reports_always = False
        self.callback: Callable[..., None] = mock.Mock()

    def shutdown(self) -> None:
        self.requests += 1
        if not self._hears(self.requests):
            raise libvirt.libvirtError("guest agent is not responding")
        self._ends_at = min(self._ends_at, self.now + self._seconds)

    def is_active(self) -> bool:
        self.looks += 1
        return self.now < self._ends_at

    def sleep(self, seconds: float) -> None:
        was_active = self.now < self._ends_at
        self.now += seconds
        stops = was_active and self.now >= self._ends_at
        if self.reports_always or (self.reports and stops):
            domain = mock.Mock(UUIDString=lambda: INSTANCE)
            self.callback(mock.Mock(), domain, 5, 0, mock.Mock())


class EventsTest(base.BaseTestCase):
    """With native threads, a report ends the wait; with eventlet, it is looked for."""

    def events(self, threads: bool) -> guest_events.GuestEvents:
        with mock.patch.object(concurrency, "has_threads", lambda: threads):
            return guest_events.GuestEvents()

    def test_report_of_another_thread_ends_a_wait(self) -> None:
        events = self.events(threads=True)
        timer = threading.Timer(0.01, events.report)
        timer.start()
        self.addCleanup(timer.join)
        self.assertTrue(events.wait(300))

    def test_report_is_taken_once(self) -> None:
        for threads in (True, False):
            events = self.events(threads)
            events.report()
            self.assertEqual([True, False], [events.wait(0), events.wait(0)])

    def test_wait_with_eventlet_is_short(self) -> None:
        with mock.patch.object(guest_events, "time") as time:
            self.assertFalse(self.events(threads=False).wait(300))
        time.sleep.assert_called_once_with(guest_events._NOTICE_SECONDS)


class ShutdownTest(base.BaseTestCase):
    def wait_for(self, guest: Guest) -> bool:
        driver, instance = mock.Mock(), mock.Mock(uuid=INSTANCE)
        driver._host.get_guest.return_value = guest
        self.nova_callback = driver._host._event_lifecycle_callback
        nova_internals.receive_events(driver)
        guest.callback = driver._host._event_lifecycle_callback
        instance.system_metadata = {"image_os_shutdown_timeout": str(TIMEOUT)}
        clock = mock.Mock(monotonic=lambda: guest.now, sleep=guest.sleep)
        with (
            mock.patch.object(concurrency, "has_threads", lambda: False),
            mock.patch.object(guest_events, "time", clock),
            mock.patch.object(shutdown, "time", clock),
        ):
            return shutdown.wait_for(driver, instance)

    def test_stop_that_libvirt_reports_is_noticed_at_once(self) -> None:
        guest = Guest(lambda _request: True, seconds=3.2)
        guest.reports = True
        self.assertTrue(self.wait_for(guest))
        self.nova_callback.assert_called_once_with(mock.ANY, mock.ANY, 5, 0, mock.ANY)
        self.assertEqual(1, guest.requests)
        self.assertLess(guest.now, 3.25)
        self.assertLess(guest.looks, 10)

    def test_stop_whose_event_is_lost_is_noticed_soon(self) -> None:
        guest = Guest(lambda _request: True, seconds=3.2)
        self.assertTrue(self.wait_for(guest))
        self.assertLess(guest.now, 3.8)

    def test_other_events_do_not_end_the_wait(self) -> None:
        guest = Guest(lambda _request: True, seconds=3.2)
        guest.reports_always = True
        self.assertTrue(self.wait_for(guest))
        self.assertLess(guest.now, 3.25)

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
