# SPDX-License-Identifier: Apache-2.0
"""The verdict on servers whose host has rebooted, and their table."""

import dataclasses
import unittest

from lab.demo.rebooted import (
    ACTIVE,
    OFF,
    ON,
    PREPARING,
    RESCUED,
    STOPPED,
    Seen,
    left_over,
    table,
)
from lab.services.power import with_resume
from stable_rescue.tempest.guest.inventory import Device, Inventory


def guest(boot: str, image: str, found: str, address: str = "00:02.2") -> Inventory:
    """Return a guest that has read one marker and written another to its only disk."""
    disk = Device("disk", address, "vda", 2**30, serial="root")
    disk = dataclasses.replace(disk, marker_read=found, marker_written=boot)
    return Inventory(1, image, "b", "disk", "bios", 9.0, (disk,), {}, boot)


FIRST = guest("one", "original", "")
IN_RESCUE = guest("two", "rescue", "one")
AGAIN = guest("three", "rescue", "two")
RESTORED = guest("four", "original", "three")
RESUMED = guest("two", "original", "one")


def rescued(**changes: object) -> Seen:
    seen = Seen(
        RESCUED,
        before=FIRST,
        last=IN_RESCUE,
        at_failure="RESCUE",
        after_boot="RESCUE",
        has_record=True,
        running=True,
        seconds=2.25,
        booted=AGAIN,
        at_end="ACTIVE",
        final=RESTORED,
    )
    return dataclasses.replace(seen, **changes)


def resumed(name: str, **changes: object) -> Seen:
    """Return a server that ran again after the boot of its host."""
    seen = Seen(name, FIRST, FIRST, "ACTIVE", "ACTIVE", running=True, seconds=3.0)
    final = {"booted": RESUMED, "at_end": "ACTIVE", "final": RESUMED}
    return dataclasses.replace(seen, **{**final, **changes})


def started(name: str, **changes: object) -> Seen:
    """Return a server that was off after the boot of its host, and started later."""
    off = {"running": False, "seconds": None, "booted": None}
    return resumed(name, **{**off, **changes})


class VerdictTest(unittest.TestCase):
    def assert_right(self, seen: Seen, resume: str) -> None:
        self.assertEqual([], list(seen.faults(resume)))

    def assert_wrong(self, seen: Seen, resume: str, *reasons: str) -> None:
        faults = list(seen.faults(resume))
        self.assertEqual([f"{seen.name}: {reason}" for reason in reasons], faults)

    def test_rescued_server_runs_its_rescue_with_each_option(self) -> None:
        for resume in (ON, OFF):
            self.assert_right(rescued(), resume)
        self.assert_wrong(
            rescued(running=False, seconds=None, booted=None, last=AGAIN),
            OFF,
            "the guest after the boot is off, not rescue",
        )
        self.assert_wrong(rescued(seconds=60.5), ON, "the guest ran after 60.5 s")

    def test_rescued_server_that_runs_its_original_is_a_fault(self) -> None:
        original = dataclasses.replace(AGAIN, image="original")
        self.assert_wrong(
            rescued(booted=original),
            ON,
            "the guest after the boot is original, not rescue",
        )

    def test_server_that_ran_runs_again_if_nova_resumes(self) -> None:
        for name in (ACTIVE, PREPARING):
            self.assert_right(resumed(name), ON)
            self.assert_wrong(
                started(name), ON, "the guest after the boot is off, not original"
            )
            for status in ("ACTIVE", "SHUTOFF"):
                self.assert_right(started(name, after_boot=status), OFF)

    def test_stopped_server_stays_off(self) -> None:
        self.assert_right(started(STOPPED, after_boot="SHUTOFF"), ON)
        self.assert_wrong(
            resumed(STOPPED, after_boot="SHUTOFF"),
            ON,
            "the guest after the boot is original, not off",
        )

    def test_interrupted_rescue_leaves_neither_record_nor_task(self) -> None:
        self.assert_wrong(
            resumed(PREPARING, has_record=True),
            ON,
            "the record of a rescue is left after the boot",
        )
        busy = "ACTIVE, rescuing"
        self.assert_wrong(
            resumed(PREPARING, after_boot=busy, has_task=True),
            ON,
            f"the status after the boot is {busy}",
        )

    def test_server_that_cannot_be_restored_is_a_fault(self) -> None:
        self.assert_wrong(
            started(PREPARING, final=None, failures=["409"]),
            OFF,
            "no guest ran at the end",
            "409",
        )
        self.assert_wrong(
            rescued(final=dataclasses.replace(RESTORED, image="rescue")),
            ON,
            "the guest at the end is rescue, status ACTIVE",
        )

    def test_device_that_moved_and_marker_that_is_lost_are_faults(self) -> None:
        moved = guest("four", "original", "three", address="00:09.0")
        self.assert_wrong(rescued(final=moved), ON, "1 devices moved")
        (fault,) = rescued(final=guest("four", "original", "")).faults(ON)
        self.assertIn("'three' was written, '' was read", fault)


class TableTest(unittest.TestCase):
    def test_table_has_a_row_for_each_server(self) -> None:
        heading, first, second = table([rescued(), started(STOPPED)])
        self.assertEqual("server", heading.split()[0])
        for words in ("2.2 s", "ACTIVE, original", "0 of 1", "2 of 2"):
            self.assertIn(words, first)
        self.assertEqual(first.index("0 of 1"), second.index("0 of 1"))
        self.assertIn("1 of 1", second)

    def test_server_that_no_guest_followed_has_no_numbers(self) -> None:
        lost = started(PREPARING, final=None, at_end="ACTIVE, rescuing")
        self.assertEqual(("ACTIVE, rescuing", "-", "-"), lost.row()[-3:])


class LeftOverTest(unittest.TestCase):
    def test_only_new_resources_are_left_over(self) -> None:
        before = {"domain one", "loop device /dev/loop1", "secret a"}
        after = {"domain one", "loop device /dev/loop7"}
        self.assertEqual([], left_over(before, after))
        after |= {"loop device /dev/loop1", "one: disk.rescue"}
        self.assertEqual(
            ["loop device number 2", "one: disk.rescue"], left_over(before, after)
        )


class OptionTest(unittest.TestCase):
    def test_option_is_set_replaced_and_removed(self) -> None:
        text = "[DEFAULT]\ncompute_driver = d\n\n[libvirt]\nvirt_type = qemu\n"
        resumed = with_resume(text, True)
        self.assertIn("[DEFAULT]\nresume_guests_state_on_host_boot = True\n", resumed)
        self.assertEqual(1, with_resume(resumed, False).count("on_host_boot"))
        self.assertIn("on_host_boot = False", with_resume(resumed, False))
        self.assertEqual(text, with_resume(resumed, None))
