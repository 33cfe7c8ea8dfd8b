# SPDX-License-Identifier: Apache-2.0
"""With overlays, no disk of the server can be written, and nothing moves (E8)."""

import ddt
from lxml import etree
from oslotest import base

from stable_rescue import exception
from stable_rescue.domain import document, invariants, overlays, sources
from stable_rescue.domain.compare import compare
from stable_rescue.domain.document import Domain
from stable_rescue.domain.overlays import Overlay
from tests.unit.domain import samples, volume_disks
from tests.unit.domain.overlay_samples import (
    FOLDER,
    QCOW2,
    below,
    discarding,
    disk_at,
    expected,
    text_of,
    with_volumes,
)


@ddt.ddt
class OverlaysTest(base.BaseTestCase):
    @ddt.data("pc", "q35")
    def test_each_disk_has_an_overlay_and_nothing_moves(self, machine: str) -> None:
        original = samples.parsed(machine)
        derived = discarding(original)
        self.assertEqual(["vda", "vdb", "vdc"], overlays.targets(derived.rescue)[:3])
        self.assertEqual([], overlays.targets(derived.original))
        comparison = compare(original, derived.rescue)
        self.assertEqual((), comparison.disturbed)
        self.assertEqual((), comparison.vanished)
        edits = [edit for edit in derived.edits if edit.name == "overlay"]
        self.assertEqual(len(overlays.targets(derived.rescue)), len(edits))
        for target in overlays.targets(derived.rescue):
            disk = disk_at(derived.rescue, target)
            path = f"{FOLDER}/overlay.{target}.rescue"
            self.assertEqual(path, disk.find("source").get("file"))
            self.assertEqual("qcow2", disk.find("driver").get("type"))

    def test_without_discard_no_disk_has_an_overlay(self) -> None:
        derived = discarding(with_volumes(), discard=False)
        self.assertEqual([], overlays.targets(derived.rescue))
        self.assertNotIn("backingStore type", derived.rescue.to_xml())

    def test_cdrom_and_readonly_disk_need_no_overlay(self) -> None:
        original = volume_disks.definition().copy()
        rbd = volume_disks.disk_of(original, volume_disks.RBD)
        rbd.remove(rbd.find("shareable"))
        without = {
            document.target_of(disk)[0]
            for disk in original.disks()
            if disk.get("device") == "cdrom" or disk.find("readonly") is not None
        }
        self.assertIn("vde", without)
        self.assertGreater(len(without), 1)
        all_targets = {document.target_of(disk)[0] for disk in original.disks()}
        self.assertEqual(
            all_targets - without, {*overlays.targets(discarding(original).rescue)}
        )

    def test_config_drive_of_the_rescue_needs_no_overlay(self) -> None:
        original = samples.domain("pc")
        drive = next(d for d in original.disks() if d.get("device") == "cdrom")
        drive.set("device", "disk")
        drive.remove(drive.find("readonly"))
        swapped = discarding(original, replaces_config_drive=True).rescue
        self.assertNotIn("hda", overlays.targets(swapped))
        self.assertIn("hda", overlays.targets(discarding(original).rescue))

    def test_settings_of_a_disk_are_kept(self) -> None:
        disk = disk_at(discarding(with_volumes()).rescue, "vdg")
        driver = dict(disk.find("driver").attrib)
        self.assertEqual(
            {
                "name": "qemu",
                "type": "qcow2",
                "cache": "none",
                "io": "native",
                "discard": "unmap",
            },
            driver,
        )
        self.assertEqual("65536", disk.findtext("driver/metadata_cache/max_size"))
        self.assertEqual("g", disk.findtext("serial"))
        self.assertEqual("external", disk.get("snapshot"))

    def test_raw_file_is_the_end_of_its_chain(self) -> None:
        rescue = discarding(samples.parsed("pc")).rescue
        self.assertEqual(
            expected(
                "<backingStore type='file'><format type='raw'/>"
                f"<source file='{FOLDER}/disk'/><backingStore/></backingStore>"
            ),
            below(rescue, "vda"),
        )

    @ddt.data(
        "",
        "<backingStore/>",
        "<backingStore type='file' index='3'><format type='raw'/>"
        "<source file='/base' index='4'/><backingStore/></backingStore>",
    )
    def test_qcow2_file_keeps_the_chain_that_it_has(self, chain: str) -> None:
        rescue = discarding(with_volumes(chain)).rescue
        kept = chain.replace(" index='3'", "").replace(" index='4'", "")
        self.assertEqual(
            expected(
                "<backingStore type='file'><format type='qcow2'/>"
                f"<source file='/images/a'/>{kept}</backingStore>"
            ),
            below(rescue, "vdg"),
        )

    def test_rbd_volume_keeps_hosts_and_access(self) -> None:
        rescue = discarding(with_volumes()).rescue
        self.assertIsNone(disk_at(rescue, "vdd").find("auth"))
        self.assertEqual(
            expected(
                "<backingStore type='network'><format type='raw'/>"
                f"<source protocol='rbd' name='volumes/volume-{volume_disks.RBD}'>"
                "<host name='192.0.2.1' port='6789'/>"
                "<host name='fd00::1' port='6789'/>"
                "<auth username='cinder'>"
                f"<secret type='ceph' uuid='{volume_disks.OLD_SECRET}'/></auth>"
                "</source><backingStore/></backingStore>"
            ),
            below(rescue, "vdd"),
        )

    @ddt.data(True, False)
    def test_encrypted_volume_keeps_its_secret_below(self, in_source: bool) -> None:
        original = with_volumes().copy()
        disk = disk_at(original, "vde")
        if not in_source:
            disk.append(disk.find("source/encryption"))
        rescue = discarding(original).rescue
        self.assertIsNone(disk_at(rescue, "vde").find("encryption"))
        self.assertEqual(
            expected(
                "<backingStore type='block'><format type='raw'/>"
                "<source dev='/dev/dm-3'><encryption format='luks'><secret "
                f"type='passphrase' uuid='{volume_disks.OLD_SECRET}'/></encryption>"
                "</source><backingStore/></backingStore>"
            ),
            below(rescue, "vde"),
        )

    def test_limit_bounds_the_file_and_is_reported_to_the_guest(self) -> None:
        rescue = discarding(samples.parsed("pc")).rescue
        limited, free = disk_at(rescue, "vdb"), disk_at(rescue, "vda")
        slices = [dict(each.attrib) for each in limited.iterfind("source/slices/slice")]
        self.assertEqual(
            [{"type": "storage", "offset": "0", "size": str(2**30)}], slices
        )
        self.assertEqual("report", limited.find("driver").get("error_policy"))
        self.assertIsNone(free.find("source/slices"))
        self.assertIsNone(free.find("driver").get("error_policy"))

    def test_error_policy_of_the_server_is_kept(self) -> None:
        original = samples.domain("pc")
        disk_at(original, "vdb").find("driver").set("error_policy", "stop")
        driver = disk_at(discarding(original).rescue, "vdb").find("driver")
        self.assertEqual("stop", driver.get("error_policy"))

    def test_disk_without_driver_is_raw(self) -> None:
        original = samples.domain("pc")
        disk = disk_at(original, "vda")
        disk.remove(disk.find("driver"))
        rescue = discarding(original).rescue
        self.assertEqual("qcow2", disk_at(rescue, "vda").find("driver").get("type"))
        self.assertIn('<format type="raw">', below(rescue, "vda"))

    def test_overlay_that_is_taken_off_leaves_the_disk(self) -> None:
        chain = "<backingStore type='file'><source file='/base'/></backingStore>"
        for xml in (QCOW2.format(""), QCOW2.format(chain), volume_disks.NFS_DISK):
            disk = etree.fromstring(xml)
            for name in ("startupPolicy", "index"):
                disk.find("source").attrib.pop(name, None)
            before = text_of(disk)
            for overlay in (Overlay(f"{FOLDER}/overlay.x.rescue", 2**20), None):
                if overlay is not None:
                    overlays.put_on(disk, overlay)
                    self.assertNotEqual(before, text_of(disk))
                self.assertEqual(overlay, overlays.taken_off(disk))
                self.assertEqual(before, text_of(disk))

    def test_overlay_without_what_is_below_is_invalid(self) -> None:
        disk = etree.fromstring(QCOW2.format(""))
        disk.find("source").set("file", "/x/overlay.vdg.rescue")
        for function in (overlays.taken_off, overlays.source_below):
            self.assertRaises(exception.InvalidDomain, function, disk)


class SourcesTest(base.BaseTestCase):
    """New sources of volumes go below the overlays, never in their place."""

    def setUp(self) -> None:
        super().setUp()
        self.original = with_volumes()
        self.rescue = discarding(self.original).rescue

    def test_new_sources_are_read_below_the_overlays(self) -> None:
        fresh = {
            "vdd": volume_disks.rbd(volume_disks.MOVED),
            "vde": volume_disks.iscsi("/dev/dm-7", volume_disks.NEW_SECRET),
            "vdf": volume_disks.nfs("/mnt/volume.snapshot", "qcow2"),
        }
        original, edits = sources.refreshed(self.original, fresh)
        rescue, _edits = sources.refreshed(self.rescue, fresh)
        self.assertGreater(len(edits), 2)
        self.assertEqual(overlays.targets(self.rescue), overlays.targets(rescue))
        for target in ("vdd", "vde", "vdf"):
            derived = discarding(original).rescue
            self.assertEqual(below(derived, target), below(rescue, target))
            self.assertNotEqual(below(self.rescue, target), below(rescue, target))
        invariants.check(original, rescue)

    def test_same_sources_change_nothing(self) -> None:
        fresh = {"vdd": volume_disks.rbd(volume_disks.SAME)}
        self.assertEqual((self.rescue, []), sources.refreshed(self.rescue, fresh))

    def test_snapshot_before_the_rescue_is_carried_below_the_overlay(self) -> None:
        moved = self.original.to_xml().replace("/mnt/volume", "/mnt/new")
        current = Domain.parse(moved)
        rescue, edits = sources.carried(self.rescue, current, self.original)
        self.assertEqual(1, len(edits))
        self.assertIn("/mnt/new", below(rescue, "vdf"))
        self.assertEqual(overlays.targets(self.rescue), overlays.targets(rescue))

    def test_overlays_of_the_running_rescue_are_not_carried(self) -> None:
        for definition in (self.original, self.rescue):
            self.assertEqual((definition, []), sources.carried(definition, self.rescue))
