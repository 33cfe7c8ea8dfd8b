# SPDX-License-Identifier: Apache-2.0
"""The record of a rescue survives being written and read."""

import dataclasses
import datetime
import json

import ddt
from oslotest import base

from stable_rescue import exception
from stable_rescue.domain.document import Domain
from stable_rescue.plan import RescuePlan
from stable_rescue.storage.record import Record, State
from tests.unit.domain import samples

ORIGINAL = samples.read("pc")
PLAN = RescuePlan(
    "disk", "usb", Domain.parse(ORIGINAL), Domain.parse(samples.read("q35")), ()
)
LAUNCHED_AT = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)


@ddt.ddt
class RecordTest(base.BaseTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.record = Record.of(
            PLAN, {"id": "i"}, was_running=False, launched_at=LAUNCHED_AT
        )

    def test_record_survives_json(self) -> None:
        for record in (self.record, self.record.at(State.RESCUED)):
            self.assertEqual(record, Record.from_json(record.to_json()))

    def test_times_are_typed_after_json(self) -> None:
        loaded = Record.from_json(self.record.at(State.RESCUED).to_json())
        self.assertEqual(LAUNCHED_AT, loaded.launched_at)
        self.assertIsInstance(loaded.rescued_at, datetime.datetime)

    def test_rescued_at_is_kept_by_a_second_start(self) -> None:
        rescued = self.record.at(State.RESCUED)
        again = rescued.at(State.ENDING).at(State.RESCUED)
        self.assertIsNone(self.record.rescued_at)
        self.assertEqual(rescued.rescued_at, again.rescued_at)

    def test_definition_is_kept_to_the_letter(self) -> None:
        self.assertEqual(ORIGINAL, self.record.original_xml)
        self.assertEqual(ORIGINAL, self.record.defined_xml)

    def test_format_1_is_read(self) -> None:
        content = json.loads(self.record.to_json())
        content |= {
            "format": 1,
            "before": content.pop("original_xml"),
            "after": content.pop("rescue_xml"),
            "defined": content.pop("defined_xml"),
            "rescued_at": "",
        }
        self.assertEqual(self.record, Record.from_json(json.dumps(content)))

    def test_record_with_overlays_has_a_format_of_its_own(self) -> None:
        """An older release would lead its writes to the server's disks."""
        content = json.loads(self.record.to_json())
        self.assertEqual(2, content["format"])
        self.assertNotIn("discards_writes", content)
        discarding = dataclasses.replace(self.record, discards_writes=True)
        self.assertEqual(3, json.loads(discarding.to_json())["format"])
        self.assertEqual(discarding, Record.from_json(discarding.to_json()))
        self.assertIn("discarding writes", discarding.kind)

    def test_record_with_a_memory_dump_has_a_format_of_its_own(self) -> None:
        """An older release would leave the guest paused."""
        self.assertNotIn("memory_dump", json.loads(self.record.to_json()))
        dumping = dataclasses.replace(self.record, memory_dump="/dumps/x.dump")
        self.assertEqual(4, json.loads(dumping.to_json())["format"])
        self.assertEqual(dumping, Record.from_json(dumping.to_json()))
        self.assertIn("with a memory dump", dumping.kind)

    @ddt.data("", "[]", "{}", '{"format": 5}', '{"format": 2, "state": "preparing"}')
    def test_invalid_text_is_rejected(self, text: str) -> None:
        self.assertRaises(exception.InvalidRecord, Record.from_json, text)
