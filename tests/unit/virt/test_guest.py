# SPDX-License-Identifier: Apache-2.0
"""The original definition is read from the inactive or from the live definition."""

from unittest import mock

from oslotest import base

from stable_rescue.virt import guest
from tests.unit.domain import samples


def fake_guest(inactive: str, live: str | None) -> mock.Mock:
    """Return a guest with these two definitions; without a live one it is off."""
    fake = mock.Mock(uuid="u")
    fake.is_active.return_value = live is not None
    fake.get_xml_desc.side_effect = lambda dump_inactive=False, **_flags: (
        inactive if dump_inactive else live
    )
    return fake


class ReadOriginalTest(base.BaseTestCase):
    """The definition that a rescue is derived from (F1)."""

    def read(self, inactive: str, live: str | None) -> str:
        return guest.read_original(fake_guest(inactive, live)).to_xml()

    def test_inactive_definition_is_read_if_guest_is_off(self) -> None:
        inactive = samples.read("pc")
        self.assertEqual(inactive, self.read(inactive, None))

    def test_inactive_definition_is_read_if_nothing_moved(self) -> None:
        inactive = samples.read("pc")
        self.assertEqual(inactive, self.read(inactive, samples.read("pc-migratable")))

    def test_live_definition_is_read_if_it_has_another_disk(self) -> None:
        inactive = samples.domain("pc")
        samples.remove_disk(inactive, "vdb")
        read = guest.read_original(
            fake_guest(inactive.to_xml(), samples.read("pc-migratable"))
        )
        targets = [disk.find("target").get("dev") for disk in read.disks()]
        self.assertEqual(["vda", "vdb", "vdc", "hda"], targets)
        self.assertNotIn("backingStore", read.to_xml())

    def test_secrets_are_part_of_both_definitions(self) -> None:
        asked = fake_guest(samples.read("pc"), samples.read("pc-migratable"))
        guest.read_original(asked)
        self.assertEqual(
            [True, True],
            [c.kwargs["dump_sensitive"] for c in asked.get_xml_desc.call_args_list],
        )
