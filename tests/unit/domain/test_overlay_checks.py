# SPDX-License-Identifier: Apache-2.0
"""What cannot have an overlay is refused, and what is no overlay is detected (E8)."""

from collections.abc import Callable

import ddt
from lxml import etree
from oslotest import base

from stable_rescue import exception
from stable_rescue.domain import invariants, overlays, recognize
from stable_rescue.domain.document import Domain, Draft
from tests.unit.domain import samples
from tests.unit.domain.overlay_samples import (
    FOLDER,
    HOSTDEV,
    discarding,
    disk_at,
    with_volumes,
)


def _lun(disk: etree._Element) -> None:
    disk.set("device", "lun")


def _shared(disk: etree._Element) -> None:
    etree.SubElement(disk, "shareable")


def _transient(disk: etree._Element) -> None:
    etree.SubElement(disk, "transient")


def _in_pool(disk: etree._Element) -> None:
    disk.set("type", "volume")


def _vmdk(disk: etree._Element) -> None:
    disk.find("driver").set("type", "vmdk")


def _path_as_target(disk: etree._Element) -> None:
    disk.find("target").set("dev", "vd/../a")


@ddt.ddt
class RefusalTest(base.BaseTestCase):
    @ddt.data(_lun, _shared, _transient, _in_pool, _vmdk, _path_as_target)
    def test_disk_that_cannot_have_an_overlay_is_refused(
        self, spoil: Callable[[etree._Element], None]
    ) -> None:
        original = samples.domain("pc")
        spoil(disk_at(original, "vdb"))
        error = self.assertRaises(exception.Refused, discarding, original)
        self.assertIn("cannot be discarded", str(error))
        discarding(original, discard=False)

    @ddt.data(
        "<filesystem type='mount'><source dir='/a'/><target dir='a'/></filesystem>",
        "<memory model='nvdimm'><source><path>/a</path></source></memory>",
        HOSTDEV.format("scsi"),
    )
    def test_other_storage_is_refused(self, device: str) -> None:
        original = samples.domain("pc")
        samples.add(original, device)
        error = self.assertRaises(exception.Refused, discarding, original)
        self.assertIn("what a rescue system writes there", str(error))

    def test_share_that_is_read_only_is_accepted(self) -> None:
        original = samples.domain("pc")
        samples.add(original, "<filesystem type='mount'><readonly/></filesystem>")
        self.assertNotEqual([], overlays.targets(discarding(original).rescue))

    def test_pci_device_that_is_passed_through_is_a_finding(self) -> None:
        original = samples.domain("pc")
        samples.add(original, HOSTDEV.format("pci"))
        (finding,) = discarding(original).findings
        self.assertIn("0000:00:1d.0 is passed through", finding)

    def test_plain_text_of_an_encrypted_disk_is_a_finding(self) -> None:
        (finding,) = discarding(with_volumes()).findings
        self.assertIn("disk vde is encrypted", finding)


def _no_overlay(disk: etree._Element) -> None:
    overlays.taken_off(disk)


def _other_file(disk: etree._Element) -> None:
    disk.find("source").set("file", "/elsewhere/overlay.vdb.rescue.img")


def _other_name(disk: etree._Element) -> None:
    disk.find("source").set("file", f"{FOLDER}/overlay.vda.rescue")


def _raw_overlay(disk: etree._Element) -> None:
    disk.find("driver").set("type", "raw")


def _other_below(disk: etree._Element) -> None:
    disk.find("backingStore/source").set("file", "/other")


def _other_format_below(disk: etree._Element) -> None:
    disk.find("backingStore/format").set("type", "qcow2")


def _open_chain(disk: etree._Element) -> None:
    backing = disk.find("backingStore")
    backing.remove(backing.find("backingStore"))


def _added_secret(disk: etree._Element) -> None:
    etree.SubElement(disk.find("backingStore/source"), "encryption", format="luks")


def _other_serial(disk: etree._Element) -> None:
    etree.SubElement(disk, "serial").text = "other"


def _other_cache(disk: etree._Element) -> None:
    disk.find("driver").set("cache", "unsafe")


def _retry(disk: etree._Element) -> None:
    disk.find("driver").set("error_policy", "ignore")


@ddt.ddt
class InvariantsTest(base.BaseTestCase):
    @ddt.data(
        _no_overlay,
        _other_file,
        _other_name,
        _raw_overlay,
        _other_below,
        _other_format_below,
        _open_chain,
        _added_secret,
        _other_serial,
        _other_cache,
        _retry,
    )
    def test_violation_is_detected(
        self, spoil: Callable[[etree._Element], None]
    ) -> None:
        original = samples.parsed("pc")
        rescue: Draft = discarding(original).rescue.copy()
        spoil(disk_at(rescue, "vdb"))
        self.assertRaises(exception.InvariantBroken, invariants.check, original, rescue)

    def test_name_of_an_overlay_is_not_one_of_a_rescue_disk(self) -> None:
        rescue = discarding(samples.parsed("pc")).rescue
        self.assertIsNone(recognize.stock_rescue_disk(_without_medium(rescue)))


def _without_medium(rescue: Domain) -> Domain:
    draft = rescue.copy()
    draft.devices.remove(recognize.rescue_disk(draft))
    return draft
