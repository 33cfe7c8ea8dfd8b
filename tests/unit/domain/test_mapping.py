# SPDX-License-Identifier: Apache-2.0
"""The block device mapping against the definition."""

import unittest

from stable_rescue import exception, plan
from stable_rescue.domain.document import Domain
from stable_rescue.domain.mapping import BlockDevices, differences
from tests.unit.domain import samples

VOLUME, OTHER = (f"{n}0000000-0000-4000-8000-000000000000" for n in "12")
LOCAL = {"disk": "vda", "disk.eph0": "vdb", "disk.swap": "vdc"}


def with_volume(serial: str = VOLUME, target: str = "vdd") -> Domain:
    found = samples.domain("q35")
    samples.add(
        found,
        "<disk type='block' device='disk'><source dev='/dev/sdb'/>"
        f"<target dev='{target}' bus='virtio'/>"
        + (f"<serial>{serial}</serial>" if serial else "")
        + f"<address {samples.pci(7, 0)}/></disk>",
    )
    return found


class DifferencesTest(unittest.TestCase):
    def test_none(self) -> None:
        expected = BlockDevices({VOLUME: "vdd"}, LOCAL)
        self.assertEqual((), differences(with_volume(), expected))

    def test_a_volume_is_known_by_its_serial_whatever_its_target(self) -> None:
        expected = BlockDevices({VOLUME: "vdx"}, LOCAL)
        self.assertEqual((), differences(with_volume(), expected))

    def test_a_disk_without_serial_is_known_by_its_target(self) -> None:
        expected = BlockDevices({VOLUME: "vdd"}, LOCAL)
        self.assertEqual((), differences(with_volume(""), expected))

    def test_volume_that_the_definition_does_not_have(self) -> None:
        (told,) = differences(samples.domain("q35"), BlockDevices({VOLUME: "vdd"}))
        self.assertIn(f"volume {VOLUME} is attached", told)

    def test_volume_that_is_not_attached(self) -> None:
        """Detached behind Nova's back, or added by hand."""
        (told,) = differences(with_volume(), BlockDevices({}, LOCAL))
        self.assertIn(f"volume {VOLUME} (vdd) is in the server's definition", told)
        self.assertNotIn("/dev", told)

    def test_one_volume_in_place_of_another(self) -> None:
        told = differences(with_volume(), BlockDevices({OTHER: "vdd"}, LOCAL))
        self.assertEqual(2, len(told))

    def test_disk_added_by_hand(self) -> None:
        (told,) = differences(with_volume(""), BlockDevices({}, LOCAL))
        self.assertIn("disk vdd is in the server's definition", told)

    def test_ephemeral_that_the_definition_does_not_have(self) -> None:
        expected = BlockDevices({}, LOCAL | {"disk.eph1": "vdq"})
        (told,) = differences(samples.domain("q35"), expected)
        self.assertIn("disk.eph1 (vdq)", told)

    def test_local_disks_by_name_where_the_target_is_not_known(self) -> None:
        expected = BlockDevices({}, dict.fromkeys(LOCAL, ""))
        self.assertEqual((), differences(samples.domain("q35"), expected))

    def test_local_disk_by_target_whatever_its_name(self) -> None:
        expected = BlockDevices({}, {"disk": "", "disk.eph7": "vdb"})
        self.assertEqual((), differences(samples.domain("q35"), expected))

    def test_swap_that_came_with_a_resize(self) -> None:
        """Nova's mapping does not tell of it."""
        expected = BlockDevices({}, {"disk": "vda"})
        self.assertEqual((), differences(samples.domain("q35"), expected))

    def test_disks_in_pools(self) -> None:
        found = samples.domain("q35")
        uuid = found.uuid
        for disk, (kind, key, value) in zip(
            found.disks(),
            (
                ("network", "name", f"vms/{uuid}_disk"),
                ("block", "dev", f"/dev/vg/{uuid}_disk.eph0"),
            ),
            strict=False,
        ):
            disk.set("type", kind)
            source = disk.find("source")
            source.attrib.clear()
            source.set(key, value)
        self.assertEqual((), differences(found, BlockDevices({}, LOCAL)))

    def test_an_empty_drive_is_no_disk(self) -> None:
        found = samples.domain("q35")
        samples.add(
            found,
            "<disk type='file' device='cdrom'><target dev='sdb' bus='sata'/>"
            f"<address {samples.drive(0, 0, 0, 1)}/></disk>",
        )
        self.assertEqual((), differences(found, BlockDevices({}, LOCAL)))


class PlanTest(unittest.TestCase):
    def derive(self, **options: bool) -> plan.RescuePlan:
        return plan.derive(
            with_volume(),
            plan.RescueRequest(bus="usb", **options),
            samples.MEDIA,
            plan.ServerDisks(BlockDevices({}, LOCAL)),
        )

    def test_refused_by_default(self) -> None:
        with self.assertRaisesRegex(exception.Refused, f"volume {VOLUME} .* not att"):
            self.derive()

    def test_a_finding_where_the_operator_allows_it(self) -> None:
        (told,) = self.derive(mismatch=True).findings
        self.assertIn(VOLUME, told)

    def test_no_mapping_is_not_compared(self) -> None:
        made = plan.derive(with_volume(), plan.RescueRequest(bus="usb"), samples.MEDIA)
        self.assertEqual((), made.findings)
