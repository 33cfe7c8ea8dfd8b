# SPDX-License-Identifier: Apache-2.0
"""Downtimes from libvirt's events, and the table of the scene."""

from oslotest import base

from lab.demo import lifecycle
from lab.demo.scenes import downtime

EVENTS = """\
2026-01-01 10:00:00.000+0000: event 'lifecycle' for domain 'one': Defined Updated
2026-01-01 10:00:01.500+0000: event 'lifecycle' for domain 'one': Stopped Shutdown
2026-01-01 10:00:02.250+0000: event 'lifecycle' for domain 'one': Resumed Unpaused
2026-01-01 10:00:02.250+0000: event 'lifecycle' for domain 'one': Started Booted
2026-01-01 10:00:03.000+0000: event 'lifecycle' for domain 'one': Shutdown Finished
2026-01-01 10:00:03.000+0000: event 'lifecycle' for domain 'one': Stopped Destroyed
"""


class DowntimeTest(base.BaseTestCase):
    def test_downtime_is_from_stop_to_start(self) -> None:
        lines = EVENTS.splitlines()
        self.assertEqual([0.75], lifecycle.between(lines))
        started = lines[3].replace("10:00:02.250", "10:00:04.000")
        self.assertEqual([0.75, 1.0], lifecycle.between([*lines, started]))

    def test_each_downtime_is_returned_once(self) -> None:
        off = lifecycle.Downtimes()
        off.read(EVENTS.splitlines()[:4] * 2)
        self.assertEqual([0.75, 0.75], [off.next(), off.next()])

    def test_table_compares_with_the_floor(self) -> None:
        times = {"rescue": [0.5, 1.5, 1.0], "rescue, floor": [0.5, 0.25, 0.75]}
        _head, rescue, floor = downtime.table(times)
        self.assertEqual(["rescue", "1.00", "1.50", "2.00"], rescue.split())
        self.assertEqual("1.00", floor.split()[-1])
