# SPDX-License-Identifier: Apache-2.0
"""Which disk was booted, by the bytes that a guest has read."""

from lxml import etree
from oslotest import base

from stable_rescue.domain import booted
from stable_rescue.domain.document import Domain
from tests.unit.domain import samples

MIB = 2**20


class BootedTest(base.BaseTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.rescue = samples.derive(samples.parsed("q35"), "disk", "usb").rescue
        self.target, *self.others = booted.targets(self.rescue)

    def booted_disk(self, **read: int) -> str | None:
        return booted.booted_disk(self.rescue, read)

    def test_rescue_disk_comes_first(self) -> None:
        (disk,) = self.rescue.root.xpath("devices/disk[boot]")
        self.assertEqual(self.target, disk.find("target").get("dev"))
        self.assertIn("vda", self.others)

    def test_rescue_system_may_read_the_servers_disks(self) -> None:
        read = {self.target: 10 * MIB, "vda": 100 * MIB}
        self.assertEqual(self.target, self.booted_disk(**read))

    def test_other_disk_was_booted(self) -> None:
        self.assertEqual("vda", self.booted_disk(**{self.target: 512, "vda": 8 * MIB}))

    def test_firmware_alone_has_booted_nothing(self) -> None:
        self.assertIsNone(self.booted_disk(**{self.target: MIB, "vda": 40 * 1024}))

    def test_floppy_is_booted_by_less(self) -> None:
        rescue = samples.derive(samples.parsed("pc"), "floppy", "fdc").rescue
        self.assertEqual("fda", booted.booted_disk(rescue, {"fda": 100 * 1024}))
        self.assertIsNone(booted.booted_disk(rescue, {"fda": 2048}))

    def test_kernel_that_qemu_loads_leaves_nothing_to_decide(self) -> None:
        draft = self.rescue.copy()
        etree.SubElement(draft.root.find("os"), "kernel").text = "/kernel.rescue"
        self.assertEqual([], booted.targets(Domain.parse(draft.to_xml())))

    def test_server_without_rescue_disk_is_not_decided(self) -> None:
        self.assertEqual([], booted.targets(samples.parsed("pc")))
