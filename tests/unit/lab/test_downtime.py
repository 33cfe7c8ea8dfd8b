# SPDX-License-Identifier: Apache-2.0
"""Downtimes from libvirt's events, and the table of the scene."""

from oslotest import base

from lab.demo import lifecycle
from lab.demo.scenes import downtime
from lab.servers import events

EVENTS = """\
2026-01-01 10:00:00.000+0000: event 'lifecycle' for domain 'one': Defined Updated
2026-01-01 10:00:01.000+0000: event POWERDOWN for domain 'one': <null>
2026-01-01 10:00:01.250+0000: event 'lifecycle' for domain 'other': Started Booted
2026-01-01 10:00:01.500+0000: event 'lifecycle' for domain 'one': Stopped Shutdown
2026-01-01 10:00:02.250+0000: event 'lifecycle' for domain 'one': Resumed Unpaused
2026-01-01 10:00:02.250+0000: event 'lifecycle' for domain 'one': Started Booted
2026-01-01 10:00:03.000+0000: event 'lifecycle' for domain 'one': Shutdown Finished
2026-01-01 10:00:03.000+0000: event 'lifecycle' for domain 'one': Stopped Destroyed
events received: 8
"""


class DowntimeTest(base.BaseTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.noted: list[events.Event] = []
        self.events = events.Events(self.noted.append)
        self.events.read(EVENTS.splitlines())

    def test_events_of_a_domain_have_times_and_names(self) -> None:
        found = self.events.of("one")
        self.assertEqual(
            ["Defined", "POWERDOWN", "Stopped", "Resumed", "Started", "Shutdown"],
            [event.name for event in found][:6],
        )
        self.assertEqual(0.5, found[2].seconds - found[1].seconds)
        late = self.events.of("one", since=found[5].seconds)
        self.assertEqual(["Shutdown", "Stopped"], [event.name for event in late])

    def test_each_event_is_reacted_to(self) -> None:
        self.assertEqual(8, len(self.noted))
        self.assertEqual({"one", "other"}, {event.domain for event in self.noted})

    def test_downtime_is_from_stop_to_start(self) -> None:
        found = self.events.of("one")
        self.assertEqual([0.75], lifecycle.between(found))
        started = events.Event(found[-1].seconds + 1, "one", events.STARTED)
        self.assertEqual([0.75, 1.0], lifecycle.between([*found, started]))

    def test_each_downtime_is_returned_once(self) -> None:
        off = lifecycle.Downtimes(self.events, "one")
        self.assertEqual(0.75, off.next())
        started = "2026-01-01 10:00:03.500+0000: event 'lifecycle' for domain 'one': "
        self.events.read([f"{started}Started Booted"])
        self.assertEqual(0.5, off.next())

    def test_table_compares_with_the_floor(self) -> None:
        times = {"rescue": [0.5, 1.5, 1.0], "rescue, floor": [0.5, 0.25, 0.75]}
        _head, rescue, floor = downtime.table(times)
        self.assertEqual(["rescue", "1.00", "1.50", "2.00"], rescue.split())
        self.assertEqual("1.00", floor.split()[-1])
