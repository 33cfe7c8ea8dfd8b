# SPDX-License-Identifier: Apache-2.0
"""Differences between the block device mapping and the definition."""

import unittest

from stable_rescue import exception, plan
from stable_rescue.domain.document import Domain
from stable_rescue.domain.mapping import BlockDevices, detached_volumes, differences
from tests.unit.domain import samples

VOLUME, OTHER = (f"{n}0000000-0000-4000-8000-000000000000" for n in "12")
LOCAL = {"disk": "vda", "disk.eph0": "vdb", "disk.swap": "vdc"}


def with_volume(serial: str = VOLUME, target: str = "vdd") -> Domain:
    """Return a definition with a volume."""
    domain = samples.domain("q35")
    samples.add(
        domain,
        "<disk type='block' device='disk'><source dev='/dev/sdb'/>"
        f"<target dev='{target}' bus='virtio'/>"
        + (f"<serial>{serial}</serial>" if serial else "")
        + f"<address {samples.pci(7, 0)}/></disk>",
    )
    return domain


class DifferencesTest(unittest.TestCase):
    def test_equal_disks_have_no_difference(self) -> None:
        expected = BlockDevices({VOLUME: "vdd"}, LOCAL)
        self.assertEqual((), differences(with_volume(), expected))

    def test_volume_with_another_target_is_known_by_its_serial(self) -> None:
        expected = BlockDevices({VOLUME: "vdx"}, LOCAL)
        self.assertEqual((), differences(with_volume(), expected))

    def test_volume_without_serial_is_known_by_its_target(self) -> None:
        expected = BlockDevices({VOLUME: "vdd"}, LOCAL)
        self.assertEqual((), differences(with_volume(""), expected))

    def test_volume_missing_in_the_definition_differs(self) -> None:
        (difference,) = differences(
            samples.domain("q35"), BlockDevices({VOLUME: "vdd"})
        )
        self.assertIn(f"volume {VOLUME} is attached", difference)

    def test_volume_missing_in_the_mapping_differs(self) -> None:
        """Nova has detached the volume, or an operator has added it by hand."""
        (difference,) = differences(with_volume(), BlockDevices({}, LOCAL))
        self.assertIn(
            f"volume {VOLUME} (vdd) is in the server's definition", difference
        )
        self.assertNotIn("/dev", difference)

    def test_volume_in_place_of_another_differs_twice(self) -> None:
        both = differences(with_volume(), BlockDevices({OTHER: "vde"}, LOCAL))
        self.assertEqual(2, len(both))

    def test_swapped_volume_is_known_by_its_target(self) -> None:
        """The disk still has the serial of the volume that it had before."""
        expected = BlockDevices({OTHER: "vdd"}, LOCAL)
        self.assertEqual((), differences(with_volume(), expected))

    def test_disk_of_a_mapped_volume_is_not_another_one(self) -> None:
        expected = BlockDevices({VOLUME: "vdd", OTHER: "vdd"}, LOCAL)
        (difference,) = differences(with_volume(), expected)
        self.assertIn(f"volume {OTHER} is attached", difference)

    def test_disk_added_by_hand_differs(self) -> None:
        (difference,) = differences(with_volume(""), BlockDevices({}, LOCAL))
        self.assertIn("disk vdd is in the server's definition", difference)

    def test_ephemeral_missing_in_the_definition_differs(self) -> None:
        expected = BlockDevices({}, LOCAL | {"disk.eph1": "vdq"})
        (difference,) = differences(samples.domain("q35"), expected)
        self.assertIn("disk.eph1 (vdq)", difference)

    def test_local_disk_without_target_is_known_by_its_name(self) -> None:
        expected = BlockDevices({}, dict.fromkeys(LOCAL, ""))
        self.assertEqual((), differences(samples.domain("q35"), expected))

    def test_local_disk_with_another_name_is_known_by_its_target(self) -> None:
        expected = BlockDevices({}, {"disk": "", "disk.eph7": "vdb"})
        self.assertEqual((), differences(samples.domain("q35"), expected))

    def test_swap_missing_in_the_mapping_is_no_difference(self) -> None:
        """A resize can add a swap disk without an entry in the mapping."""
        expected = BlockDevices({}, {"disk": "vda"})
        self.assertEqual((), differences(samples.domain("q35"), expected))

    def test_local_disk_in_a_pool_is_known_by_its_name(self) -> None:
        domain = samples.domain("q35")
        uuid = domain.uuid
        for disk, (kind, key, value) in zip(
            domain.disks(),
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
        self.assertEqual((), differences(domain, BlockDevices({}, LOCAL)))

    def test_empty_drive_is_no_difference(self) -> None:
        domain = samples.domain("q35")
        samples.add(
            domain,
            "<disk type='file' device='cdrom'><target dev='sdb' bus='sata'/>"
            f"<address {samples.drive(0, 0, 0, 1)}/></disk>",
        )
        self.assertEqual((), differences(domain, BlockDevices({}, LOCAL)))


class PlanTest(unittest.TestCase):
    def derive(self, **options: bool) -> plan.RescuePlan:
        return plan.derive(
            with_volume(),
            plan.RescueRequest(bus="usb", **options),
            samples.MEDIA,
            plan.ServerDisks(BlockDevices({}, LOCAL)),
        )

    def test_difference_is_refused_by_default(self) -> None:
        with self.assertRaisesRegex(exception.Refused, f"volume {VOLUME} .* not att"):
            self.derive()

    def test_difference_is_a_finding_if_allowed(self) -> None:
        (difference,) = self.derive(mismatch=True).findings
        self.assertIn(VOLUME, difference)

    def test_plan_without_a_mapping_is_not_compared(self) -> None:
        derived = plan.derive(
            with_volume(), plan.RescueRequest(bus="usb"), samples.MEDIA
        )
        self.assertEqual((), derived.findings)


class DetachedVolumesTest(unittest.TestCase):
    def assert_detached(
        self, targets: set[str], volumes: dict[str, str], serial: str = VOLUME
    ) -> None:
        detached = detached_volumes(with_volume(serial), BlockDevices(volumes, LOCAL))
        self.assertEqual(targets, detached)

    def test_volume_that_the_mapping_lacks_is_detached(self) -> None:
        self.assert_detached({"vdd"}, {})
        self.assert_detached({"vdd"}, {OTHER: "vde"})

    def test_volume_of_the_mapping_is_not_detached(self) -> None:
        self.assert_detached(set(), {VOLUME: "vdx"})

    def test_swapped_volume_is_not_detached(self) -> None:
        """The disk still has the serial of the volume that it had before."""
        self.assert_detached(set(), {OTHER: "vdd"})

    def test_disk_that_was_added_by_hand_is_not_detached(self) -> None:
        self.assert_detached(set(), {}, serial="")
        self.assert_detached(set(), {}, serial="by-hand")
