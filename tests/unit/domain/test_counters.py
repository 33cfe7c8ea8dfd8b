# SPDX-License-Identifier: Apache-2.0
"""Writes to the original disks, by libvirt's statistics."""

from oslotest import base

from stable_rescue.domain import counters

#: A disk with an overlay, whose original has a backing file; a disk without; a CD-ROM.
STATS = {
    "block.count": 5,
    "block.0.name": "vda",
    "block.0.wr.reqs": 120,
    "block.1.name": "vda",
    "block.1.wr.reqs": 0,
    "block.2.name": "vda",
    "block.2.wr.reqs": 3,
    "block.3.name": "vdb",
    "block.3.wr.reqs": 7,
    "block.4.name": "sda",
}


class CountersTest(base.BaseTestCase):
    def test_writes_to_an_overlay_are_not_counted(self) -> None:
        self.assertEqual(
            {"vda": 3, "vdb": 7, "sda": 0},
            counters.writes_to_originals(STATS, ["vda"]),
        )

    def test_writes_of_a_rescue_without_overlays_are_counted(self) -> None:
        counted = counters.writes_to_originals(STATS, [])
        self.assertEqual(123, counted["vda"])

    def test_nothing_is_known_without_statistics(self) -> None:
        self.assertEqual({}, counters.writes_to_originals({}, ["vda"]))
