# SPDX-License-Identifier: Apache-2.0

from unittest import mock

from oslotest import base

from stable_rescue.domain.document import Domain
from stable_rescue.virt import definition
from tests.unit.domain import samples


def guest(inactive: str, live: str | None) -> mock.Mock:
    """Return a guest with its two definitions; live None: shut off."""
    found = mock.Mock(uuid="u")
    found.is_active.return_value = live is not None
    found.get_xml_desc.side_effect = lambda dump_inactive=False, **_flags: (
        inactive if dump_inactive else live
    )
    return found


class ReadTest(base.BaseTestCase):
    """LIBVIRT F1."""

    def test_shut_off(self) -> None:
        own = samples.read("pc")
        self.assertEqual(own, definition.read(guest(own, None)))

    def test_running_as_defined(self) -> None:
        own, live = samples.read("pc"), samples.read("pc-migratable")
        self.assertEqual(own, definition.read(guest(own, live)))

    def test_running_with_a_disk_that_is_no_longer_defined(self) -> None:
        own = samples.domain("pc")
        samples.remove_disk(own, "vdb")
        read = definition.read(guest(own.to_xml(), samples.read("pc-migratable")))
        targets = [d.find("target").get("dev") for d in Domain.parse(read).disks()]
        self.assertEqual(["vda", "vdb", "vdc", "hda"], targets)
        self.assertNotIn("backingStore", read)

    def test_secrets_are_asked_for(self) -> None:
        asked = guest(samples.read("pc"), samples.read("pc-migratable"))
        definition.read(asked)
        self.assertEqual(
            [True, True],
            [c.kwargs["dump_sensitive"] for c in asked.get_xml_desc.call_args_list],
        )
