# SPDX-License-Identifier: Apache-2.0
"""Volumes are read from their current sources (E4, U16)."""

import unittest

from lxml import etree

from stable_rescue import exception, plan
from stable_rescue.domain import compare, document, recognize, sources
from stable_rescue.domain.document import Domain
from tests.unit.domain import samples
from tests.unit.domain.volume_disks import (
    ISCSI,
    MOVED,
    NEW_SECRET,
    NFS,
    OLD_SECRET,
    RBD,
    SAME,
    definition,
    disk_of,
    iscsi,
    nfs,
    rbd,
)


class WithoutTest(unittest.TestCase):
    def test_detached_disk_is_removed_and_no_other_moves(self) -> None:
        original = definition()
        remaining, edits = sources.without(original, {"vdd", "vdz"})
        comparison = compare.compare(original, remaining)
        self.assertEqual(1, len(comparison.disturbed), comparison.disturbed)
        self.assertEqual(["vdd was detached"], [edit.what for edit in edits])
        targets = [document.target_of(disk)[0] for disk in remaining.disks()]
        self.assertNotIn("vdd", targets)

    def test_definition_with_all_disks_is_the_same(self) -> None:
        original = definition()
        self.assertEqual((original, []), sources.without(original, {"vdz"}))


class RefreshTest(unittest.TestCase):
    def setUp(self) -> None:
        self.original = definition()

    def refresh(self, **fresh: str) -> Domain:
        """Return the definition with the current sources."""
        targets = {"rbd": "vdd", "iscsi": "vde", "nfs": "vdf", "other": "vdg"}
        refreshed, edits = sources.refreshed(
            self.original, {targets[name]: disk for name, disk in fresh.items()}
        )
        self.assertEqual(refreshed is not self.original, bool(edits))
        return refreshed

    def replace(self, *pairs: tuple[str, str]) -> None:
        """Replace each text once in the definition."""
        text = self.original.to_xml()
        for old, new in pairs:
            text = text.replace(old, new, 1)
        self.original = Domain.parse(text)

    def assert_only(self, after: Domain, *paths: str) -> None:
        """Check that only these paths of a disk have changed, and nothing has moved."""
        comparison = compare.compare(self.original, after)
        self.assertEqual((), comparison.disturbed)
        self.assertEqual((), comparison.appeared)
        changed = {path for change in comparison.changed for path in change.changed}
        self.assertEqual(set(paths), changed)

    def test_same_sources_change_nothing(self) -> None:
        self.assertIs(
            self.original,
            self.refresh(
                rbd=rbd(SAME), iscsi=iscsi("/dev/dm-3"), nfs=nfs("/mnt/volume", "raw")
            ),
        )

    def test_volume_missing_in_the_definition_is_ignored(self) -> None:
        self.assertIs(self.original, self.refresh(other=rbd(MOVED)))

    def test_volume_missing_in_the_mapping_is_ignored(self) -> None:
        self.assertIs(self.original, self.refresh())

    def test_monitors_that_differ_are_replaced(self) -> None:
        after = self.refresh(rbd=rbd(MOVED))
        self.assert_only(
            after,
            "source/host@name",
            "source/host[2]",
            "source/host[2]@name",
            "source/host[2]@port",
        )
        hosts = disk_of(after, RBD).findall("source/host")
        self.assertEqual(["192.0.2.9"], [host.get("name") for host in hosts])

    def test_monitors_that_nova_does_not_name_are_kept(self) -> None:
        self.assertIs(self.original, self.refresh(rbd=rbd("")))

    def test_multipath_device_that_differs_is_replaced(self) -> None:
        after = self.refresh(iscsi=iscsi("/dev/dm-7"))
        self.assert_only(after, "source@dev")
        self.assertEqual("/dev/dm-7", sources.path_of(disk_of(after, ISCSI)))

    def test_file_that_differs_is_replaced_with_its_format(self) -> None:
        """As raw, QEMU would destroy a qcow2 file."""
        after = self.refresh(nfs=nfs("/mnt/volume.snapshot", "qcow2"))
        self.assert_only(after, "source@file", "driver@type", "backingStore")
        driver = dict(disk_of(after, NFS).find("driver").attrib)
        expected = {
            "name": "qemu",
            "type": "qcow2",
            "cache": "writethrough",
            "discard": "unmap",
            "queues": "4",
        }
        self.assertEqual(expected, driver)

    def test_same_file_keeps_its_format(self) -> None:
        """Cinder's attachment has the format from before a snapshot."""
        self.replace(
            ('type="raw" cache="writethrough"', 'type="qcow2" cache="writethrough"')
        )
        self.assertIs(self.original, self.refresh(nfs=nfs("/mnt/volume", "raw")))

    def test_format_that_nova_does_not_name_is_kept(self) -> None:
        after = disk_of(self.refresh(nfs=nfs("/mnt/other")), NFS)
        self.assertEqual("raw", after.find("driver").get("type"))

    def test_format_of_a_disk_without_driver_is_added(self) -> None:
        self.original = self.original.copy()
        disk = disk_of(self.original, NFS)
        disk.remove(disk.find("driver"))
        after = disk_of(self.refresh(nfs=nfs("/mnt/other", "qcow2")), NFS)
        self.assertEqual(
            {"name": "qemu", "type": "qcow2"}, dict(after.find("driver").attrib)
        )

    def test_file_instead_of_a_device_has_its_format(self) -> None:
        after = disk_of(self.refresh(iscsi=nfs("/mnt/volume", "qcow2")), ISCSI)
        self.assertEqual("file", after.get("type"))
        self.assertEqual("qcow2", after.find("driver").get("type"))
        self.assertEqual("native", after.find("driver").get("io"))

    def test_secret_of_an_encrypted_volume_is_replaced(self) -> None:
        after = self.refresh(iscsi=iscsi("/dev/dm-3", NEW_SECRET))
        self.assert_only(after, "source/encryption/secret@uuid")
        secret = disk_of(after, ISCSI).find("source/encryption/secret")
        self.assertEqual(NEW_SECRET, secret.get("uuid"))

    def test_secret_of_ceph_is_replaced(self) -> None:
        after = self.refresh(rbd=rbd(SAME, NEW_SECRET))
        self.assert_only(after, "auth/secret@uuid")

    def test_secret_that_is_named_by_usage_is_kept(self) -> None:
        self.replace((f'uuid="{OLD_SECRET}"', 'usage="client.cinder"'))
        self.assertIn("client.cinder", self.original.to_xml())
        self.assertIs(self.original, self.refresh(rbd=rbd(SAME, NEW_SECRET)))

    def test_user_that_ceph_now_requires_is_added(self) -> None:
        self.original = self.original.copy()
        disk = disk_of(self.original, RBD)
        disk.remove(disk.find("auth"))
        after = disk_of(self.refresh(rbd=rbd(SAME)), RBD)
        self.assertEqual("cinder", after.find("auth").get("username"))

    def test_encryption_is_not_added(self) -> None:
        """With it, the guest would see another disk."""
        self.replace(("<encryption ", "<!-- "), ("</encryption>", "-->"))
        self.assertIsNone(self.original.root.find(".//encryption"))
        self.assertIs(self.original, self.refresh(iscsi=iscsi("/dev/dm-3")))

    def test_source_of_another_type_is_replaced(self) -> None:
        """The volume has migrated to another backend while the server was off."""
        after = self.refresh(iscsi=rbd(MOVED, NEW_SECRET))
        disk = disk_of(after, ISCSI)
        self.assertEqual("network", disk.get("type"))
        self.assertEqual("rbd", disk.find("source").get("protocol"))
        self.assertEqual("cinder", disk.find("auth").get("username"))
        self.assertEqual(("vde", "virtio"), tuple(disk.find("target").attrib.values()))
        self.assertIsNotNone(disk.find("readonly"))
        # The content of the volume is still encrypted.
        secret = disk.find("source/encryption/secret")
        self.assertEqual(OLD_SECRET, secret.get("uuid"))

    def test_source_of_another_type_has_no_user_of_the_old(self) -> None:
        disk = disk_of(self.refresh(rbd=iscsi("/dev/dm-7")), RBD)
        self.assertEqual("block", disk.get("type"))
        self.assertIsNone(disk.find("auth"))
        self.assertEqual({"dev": "/dev/dm-7"}, dict(disk.find("source").attrib))

    def test_empty_drive_gets_a_source(self) -> None:
        self.original = self.original.copy()
        disk = disk_of(self.original, ISCSI)
        disk.remove(disk.find("source"))
        after = disk_of(self.refresh(iscsi=iscsi("/dev/dm-7")), ISCSI)
        self.assertEqual("/dev/dm-7", sources.path_of(after))
        self.assertEqual(["driver", "source"], [child.tag for child in after][:2])

    def test_text_that_is_not_a_disk_is_rejected(self) -> None:
        for text in ("", "<disk/>", "<domain/>", "<disk><source/>", "&lt;"):
            with self.subTest(text), self.assertRaises(exception.InvalidDomain):
                self.refresh(rbd=text)

    def test_content_that_the_guest_sees_is_kept(self) -> None:
        """QoS, multi-attach, read-only and cache mode come from the definition."""
        after = self.refresh(rbd=rbd(MOVED), iscsi=iscsi("/dev/dm-7"))
        volume = disk_of(after, RBD)
        self.assertEqual("100", volume.findtext("iotune/total_iops_sec"))
        self.assertIsNotNone(volume.find("shareable"))
        self.assertEqual("writeback", volume.find("driver").get("cache"))
        self.assertEqual("unmap", volume.find("driver").get("discard"))
        self.assertEqual(f"ua-{RBD}", volume.find("alias").get("name"))
        volume = disk_of(after, ISCSI)
        self.assertIsNotNone(volume.find("readonly"))
        self.assertEqual("native", volume.find("driver").get("io"))


class CarryTest(unittest.TestCase):
    """The original gets the sources that the running rescue has (U36)."""

    def setUp(self) -> None:
        self.original = definition()
        self.running = samples.derive(self.original, bus="usb").rescue.copy()

    def snapshot(self, image_format: str = "qcow2") -> etree._Element:
        """Move the running guest to a new file, as libvirt describes it afterwards."""
        disk = disk_of(self.running, NFS)
        disk.find("driver").set("type", image_format)
        disk.find("driver").set("cache", "none")
        disk.replace(
            disk.find("source"), etree.fromstring("<source file='/mnt/new' index='9'/>")
        )
        disk.replace(
            disk.find("backingStore"),
            etree.fromstring(
                "<backingStore type='file' index='2'><format type='raw'/>"
                "<source file='/mnt/volume'/><backingStore/></backingStore>"
            ),
        )
        return disk

    def carried(self) -> Domain:
        carried, edits = sources.carried(self.original, self.running)
        self.assertEqual(carried is not self.original, bool(edits))
        return carried

    def test_same_sources_change_nothing(self) -> None:
        self.assertIs(self.original, self.carried())

    def test_new_file_is_carried_with_its_format(self) -> None:
        self.snapshot()
        disk = disk_of(self.carried(), NFS)
        self.assertEqual({"file": "/mnt/new"}, dict(disk.find("source").attrib))
        self.assertEqual("qcow2", disk.find("driver").get("type"))

    def test_nothing_but_source_and_format_is_carried(self) -> None:
        self.snapshot()
        carried = self.carried()
        comparison = compare.compare(self.original, carried)
        changed = {path for change in comparison.changed for path in change.changed}
        self.assertEqual({"source@file", "driver@type", "backingStore"}, changed)
        self.assertEqual((), (*comparison.disturbed, *comparison.appeared))
        # libvirt detects the chain of the new file when the guest starts.
        self.assertIsNone(disk_of(carried, NFS).find("backingStore"))

    def test_counter_of_a_source_is_not_carried(self) -> None:
        disk_of(self.running, ISCSI).find("source").set("index", "7")
        self.assertIs(self.original, self.carried())

    def test_network_disk_is_carried(self) -> None:
        source = disk_of(self.running, RBD).find("source")
        source.set("name", "volumes/other")
        carried = disk_of(self.carried(), RBD).find("source")
        self.assertEqual("volumes/other", carried.get("name"))
        self.assertEqual(2, len(carried.findall("host")))
        self.assertEqual("3", carried.get("index"))

    def test_disk_with_another_serial_is_not_carried(self) -> None:
        self.snapshot().find("serial").text = RBD
        self.assertIs(self.original, self.carried())

    def test_disk_that_the_rescue_lacks_is_kept(self) -> None:
        self.running.devices.remove(disk_of(self.running, NFS))
        self.assertIs(self.original, self.carried())

    def test_config_drive_of_the_rescue_is_not_carried(self) -> None:
        draft = self.original.copy()
        samples.add(
            draft,
            "<disk type='file' device='cdrom'><source file='/i/disk.config'/>"
            "<target dev='sdc' bus='sata'/></disk>",
        )
        self.original = Domain.parse(draft.to_xml())
        self.running = self.original.copy()
        for disk in self.running.disks("sata"):
            if disk.find("source") is not None:
                disk.find("source").set("file", "/i/disk.config.rescue")
        self.assertIs(self.original, self.carried())

    def test_rescue_disk_on_the_target_of_a_disk_is_not_carried(self) -> None:
        """A volume without a disk may leave its target to the rescue disk."""
        rescue = recognize.rescue_disk(self.running)
        self.running.devices.remove(disk_of(self.running, NFS))
        rescue.find("target").set("dev", "vdf")
        draft = self.original.copy()
        disk = disk_of(draft, NFS)
        disk.remove(disk.find("serial"))
        self.original = Domain.parse(draft.to_xml())
        for serial in rescue.findall("serial"):
            rescue.remove(serial)
        self.assertIs(self.original, self.carried())


class PlanTest(unittest.TestCase):
    def derive(self, **fresh: str) -> plan.RescuePlan:
        """Return the plan of a rescue with the current sources of the volumes."""
        targets = {"rbd": "vdd", "iscsi": "vde"}
        volumes = {targets[name]: disk for name, disk in fresh.items()}
        return plan.derive(
            definition(),
            plan.RescueRequest(bus="usb"),
            samples.MEDIA,
            plan.ServerDisks(volumes=volumes),
        )

    def test_new_source_is_in_the_original_and_in_the_rescue(self) -> None:
        derived = self.derive(rbd=rbd(MOVED))
        (edit,) = (edit for edit in derived.edits if edit.name == "volume source")
        self.assertIn("vdd", edit.what)
        for text in (derived.original.to_xml(), derived.rescue.to_xml()):
            self.assertIn("192.0.2.9", text)
            self.assertNotIn("192.0.2.1'", text)

    def test_unchanged_source_leaves_the_original_alone(self) -> None:
        derived = self.derive(rbd=rbd(SAME), iscsi=iscsi("/dev/dm-3"))
        self.assertEqual(definition().to_xml(), derived.original.to_xml())
        self.assertNotIn("volume source", [edit.name for edit in derived.edits])

    def test_volume_is_the_same_in_original_and_rescue(self) -> None:
        derived = self.derive(rbd=rbd(MOVED), iscsi=iscsi("/dev/dm-7"))
        for serial in (RBD, ISCSI):
            disks = (disk_of(d, serial) for d in (derived.original, derived.rescue))
            self.assertEqual(*(etree.tostring(d, with_tail=False) for d in disks))
