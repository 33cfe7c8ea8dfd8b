# SPDX-License-Identifier: Apache-2.0
"""stable-rescue verify, with real files and a real libvirt client."""

import dataclasses
import json
import re
from pathlib import Path
from unittest import mock

import libvirt

from stable_rescue import exception, plan
from stable_rescue.domain import overlays
from stable_rescue.domain.document import Domain
from stable_rescue.domain.overlays import Overlays
from stable_rescue.storage import deadline
from stable_rescue.storage.record import Record, State
from stable_rescue.storage.store import Store
from tests.unit.cmd.conductor import HERE, Conductor
from tests.unit.cmd.host import HostTestCase
from tests.unit.domain import samples

HISTORY = "6c1f0a52-3a86-4d0b-8e0f-2f3f0b1c9a2a"


class VerifyTest(HostTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.record = self.connect_volumes(self.add_server())

    def connect_volumes(self, record: Record) -> Record:
        """Let the volumes be files in the folder of the test; return the record."""
        paths = set(re.findall("/dev/sd[a-z]+", record.original_xml))
        self.assertGreater(len(paths), 2)

        def connected(xml: str) -> str:
            for path in paths:
                there = self.folder / Path(path).name
                there.touch()
                xml = xml.replace(path, str(there))
            return xml

        names = ("original_xml", "rescue_xml", "defined_xml")
        xmls = {name: connected(getattr(record, name)) for name in names}
        record = dataclasses.replace(record, **xmls)
        self.save(record)
        self.domains[:] = [record.rescue_xml]
        return record

    def results(self, status: int = 3) -> dict[str, tuple[str, str]]:
        """Return result and details of each check of a command with this status."""
        output = self.output("verify", HISTORY, "-f", "json", status=status)
        return {
            each["check"]: (each["result"], each["details"])
            for each in json.loads(output)["checks"]
        }

    def assert_only(self, result: str, part: str, check: str) -> None:
        """Assert that one check has this result, and all others succeed."""
        results = self.results()
        self.assertEqual(result, results[check][0])
        self.assertIn(part, results.pop(check)[1])
        self.assertEqual({"ok"}, {each for each, _details in results.values()}, results)

    def test_rescue_that_holds_its_promise_has_status_0(self) -> None:
        results = self.results(status=0)
        self.assertEqual(
            [
                "record",
                "original definition",
                "guest",
                "rescue disk",
                "devices",
                "boot",
                "volumes",
            ],
            list(results),
        )
        self.assertEqual({"ok"}, {result for result, _details in results.values()})
        self.assertEqual("0 of 34 moved", results["devices"][1])
        self.assertIn("3 of 3 are connected", results["volumes"][1])

    def test_server_that_libvirt_has_lost_fails(self) -> None:
        self.domains.clear()
        self.options.append(f"host = {HERE}")
        self.useFixture(Conductor()).set_server(HISTORY)
        lost = "libvirt does not have the server"
        results = self.results()
        self.assertEqual("ok", results.pop("record")[0])
        self.assertEqual("ok", results.pop("original definition")[0])
        self.assertEqual(("failed", lost), results.pop("guest"))
        self.assertEqual({("unknown", lost)}, set(results.values()))
        self.save(self.record).remove_record()
        self.assertEqual("failed", self.results()["record"][0])

    def discard_writes(self) -> None:
        """Let the rescue of the server have overlays."""
        original = Domain.parse(self.record.original_xml)
        where = Overlays(str(self.directory(self.record)))
        media = plan.RescueMedia(samples.MEDIUM, overlays=where)
        request = plan.RescueRequest("disk", "usb", discard=True)
        derived = plan.derive(original, request, media)
        self.record = dataclasses.replace(
            self.record, rescue_xml=derived.rescue.to_xml(), discards_writes=True
        )
        self.save(self.record)
        self.domains[:] = [self.record.rescue_xml]

    def test_discarded_writes_are_checked_and_volumes_below_overlays(self) -> None:
        self.discard_writes()
        results = self.results(status=0)
        self.assertEqual("6 of 6 disks have an overlay", results["writes"][1])
        (self.folder / "sdf").unlink()
        self.assertIn("sdf: No such file", self.results()["volumes"][1])

    def test_disk_without_its_overlay_fails(self) -> None:
        self.discard_writes()
        rescue = Domain.parse(self.record.rescue_xml).copy()
        disk = next(rescue.disks())
        target = disk.find("target").get("dev")
        overlays.taken_off(disk)
        self.domains[:] = [rescue.to_xml()]
        self.assert_only("failed", f"no overlay protects {target}", "writes")

    def test_every_state_but_rescued_fails(self) -> None:
        for state in (State.BEGINNING, State.ENDING):
            self.save(self.record.at(state))
            self.assert_only("failed", f"the state is {state}", "record")

    def test_damaged_record_fails(self) -> None:
        path = self.directory(self.record) / "stable_rescue.json"
        path.write_text("{")
        self.assert_only("failed", "the record is damaged", "record")

    def test_device_that_moved_or_vanished_fails(self) -> None:
        xml = self.record.rescue_xml.replace('bus="0x0b"', 'bus="0x0e"', 1)
        self.domains[:] = [xml]
        self.assert_only("failed", "1 of 34 moved or are missing: disk", "devices")

    def test_second_boot_order_fails(self) -> None:
        target = '<target dev="vda"'
        xml = self.record.rescue_xml.replace(target, f'<boot order="2"/>{target}')
        self.domains[:] = [xml]
        self.assert_only("failed", "not the only device to boot", "rescue disk")

    def test_definition_without_a_rescue_disk_fails(self) -> None:
        self.domains[:] = [self.record.original_xml]
        results = self.results()
        self.assertEqual("failed", results["rescue disk"][0])
        self.assertEqual("unknown", results["boot"][0])
        self.assertEqual("ok", results["devices"][0])

    def test_counters_say_whether_the_disk_was_booted(self) -> None:
        for counters, result, part in (
            ((0, 0), "failed", "was not read"),
            ((1, 512), "unknown", "only 512 bytes"),
            ((431, 13 * 2**20), "ok", "13.0 MiB read from the rescue disk in 431"),
        ):
            with mock.patch("libvirt.virDomain.blockStats") as stats:
                stats.return_value = (*counters, 0, 0, -1)
                results = self.results(status=0 if result == "ok" else 3)
            stats.assert_called_once_with("sdb")
            self.assertEqual(result, results["boot"][0])
            self.assertIn(part, results["boot"][1])

    def test_counters_that_libvirt_cannot_read_are_unknown(self) -> None:
        error = libvirt.libvirtError("")
        # libvirt's client would put in the thread's last error, of another test.
        error.args = ("cannot acquire state change lock",)
        with mock.patch("libvirt.virDomain.blockStats", side_effect=error):
            self.assert_only("unknown", "state change lock", "boot")

    def test_guest_that_is_off_fails(self) -> None:
        off = self.record.rescue_xml
        with mock.patch("libvirt.virDomain.XMLDesc", return_value=off):
            results = self.results()
        self.assertEqual("failed", results["guest"][0])
        self.assertEqual("unknown", results["boot"][0])

    def test_missing_volume_fails_with_its_id_and_path(self) -> None:
        path = self.folder / "sdf"
        path.unlink()
        details = self.results()["volumes"][1]
        self.assertIn("volume 55555555-5c1d-4f0e-9a7b-555555555555 (vdd)", details)
        self.assertIn(f"{path}: No such file", details)
        path.mkdir()
        self.assert_only("failed", "neither a block device nor a file", "volumes")

    def test_volume_that_does_not_answer_fails(self) -> None:
        hung = exception.Refused("volume x did not answer")
        with mock.patch.object(deadline, "limited", side_effect=hung):
            self.assert_only("failed", "did not answer", "volumes")

    def test_lost_unrescue_xml_fails_and_the_record_is_used(self) -> None:
        (self.directory(self.record) / "unrescue.xml").unlink()
        self.assert_only("failed", "does not have", "original definition")

    def test_unrescue_xml_of_another_server_fails(self) -> None:
        store = Store(str(self.directory(self.record)))
        store.save_original(self.record.original_xml.replace("vde", "vdz"))
        results = self.results()
        self.assertEqual("failed", results["original definition"][0])
        self.assertIn("differ in disk vde", results["original definition"][1])

    def test_unrecorded_stock_rescue_is_checked_as_far_as_possible(self) -> None:
        Store(str(self.directory(self.record))).remove_record()
        xml = self.record.rescue_xml.replace("ua-stable-rescue", "ua-other")
        self.domains[:] = [xml]
        self.assert_only("unknown", "Nova's driver has rescued", "record")
