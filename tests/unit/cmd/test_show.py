# SPDX-License-Identifier: Apache-2.0
"""stable-rescue show, with real files and a real libvirt client."""

import dataclasses
import datetime
import json
import uuid
from typing import Any
from unittest import mock

import yaml

from stable_rescue.cmd import rescues
from stable_rescue.storage.record import State
from stable_rescue.storage.store import Store
from tests.unit.cmd import host
from tests.unit.cmd.conductor import ELSEWHERE, HERE, Conductor
from tests.unit.cmd.host import HostTestCase

HISTORY = "6c1f0a52-3a86-4d0b-8e0f-2f3f0b1c9a2a"
DOMAIN = "instance-0000002a"


class ShowTest(HostTestCase):
    def shown(self, server: str = HISTORY) -> dict[str, Any]:
        """Return what the command prints about a server in JSON."""
        return dict(json.loads(self.output("show", server, "-f", "json")))

    def test_rescue_is_shown_with_record_files_and_devices(self) -> None:
        record = self.add_server()
        shown = self.shown()
        self.assertEqual(
            (HISTORY, "rescued", host.IMAGE, host.CHECKSUM, True),
            tuple(
                shown[key]
                for key in ("server", "state", "image", "image_checksum", "was_running")
            ),
        )
        self.assertEqual(
            ["disk.rescue", "unrescue.xml", "stable_rescue.json"],
            [each["file"] for each in shown["files"]],
        )
        self.assertEqual(15 * host.MIB, shown["files"][0]["size_bytes"])
        self.assertEqual("moved: 0 of 34", shown["plan"][0])
        self.assertEqual(
            {"controller usb 1 qemu-xhci", "disk"},
            {d["device"] for d in shown["devices"] if d["change"] == "added"},
        )
        self.assertEqual(34 + 2, len(shown["devices"]))
        self.assertNotIn(record.original_xml[:200], str(shown))

    def test_server_that_libvirt_has_lost_is_shown(self) -> None:
        self.add_server()
        self.domains.clear()
        self.options.append(f"host = {HERE}")
        conductor = self.useFixture(Conductor())
        conductor.set_server(HISTORY)
        shown = self.shown()
        self.assertEqual(
            ("no-domain", None, False, "disk on usb"),
            tuple(shown[key] for key in ("state", "domain", "running", "device")),
        )
        self.assertEqual(["in rescue"], [step["step"] for step in shown["steps"]][-1:])
        self.assertEqual({"missing"}, {each["change"] for each in shown["devices"]})
        self.assertEqual(34, len(shown["devices"]))
        conductor.set_server(HISTORY, host=ELSEWHERE)
        self.assert_fails(1, "libvirt has no server", words=("show", HISTORY))

    def test_table_and_yaml_have_the_same_facts(self) -> None:
        self.add_server()
        shown = self.shown()
        self.assertEqual(shown, yaml.safe_load(self.output("show", HISTORY, "-f=yaml")))
        lines = self.output("show", DOMAIN).splitlines()
        self.assertIn(f"server          {HISTORY}", lines)
        self.assertIn("medium          15.0 MiB", lines)
        self.assertIn("  moved: 0 of 34", lines)

    def test_secrets_of_definition_and_volumes_are_not_shown(self) -> None:
        record = self.add_server()
        secret = "S3cretOfTheServer"
        graphics = f"<graphics type='vnc' port='5900' passwd='{secret}'/></devices>"
        definitions = {
            name: getattr(record, name).replace("</devices>", graphics)
            for name in ("original_xml", "rescue_xml", "defined_xml")
        }
        self.save(dataclasses.replace(record, **definitions))
        self.domains[:] = [definitions["rescue_xml"]]
        for command in ("show", "verify"):
            for format_ in ("table", "json", "yaml"):
                _status, output, _errors = self.run_command(
                    command, HISTORY, "-f", format_
                )
                self.assertIn("disk on usb", output)
                self.assertNotIn(secret, output)

    def test_seconds_between_shutdown_and_boot_are_shown(self) -> None:
        record = self.add_server()
        self.save(dataclasses.replace(record, rescued_at=host.RESCUED_AT))
        path = self.directory(record) / "unrescue.xml"
        host.set_time(path, host.RESCUED_AT - datetime.timedelta(seconds=2.5))
        first, last = self.shown()["steps"]
        self.assertEqual(
            {
                "step": "shutdown and boot",
                "began": "2026-11-28T01:02:00Z",
                "seconds": 2.5,
            },
            first,
        )
        self.assertEqual(("in rescue", None), (last["step"], last["seconds"]))

    def test_original_that_was_saved_later_has_no_seconds(self) -> None:
        """A snapshot moves the guest to other files (U36)."""
        record = self.add_server()
        self.save(dataclasses.replace(record, rescued_at=host.RESCUED_AT))
        path = self.directory(record) / "unrescue.xml"
        host.set_time(path, host.RESCUED_AT + datetime.timedelta(seconds=2.5))
        self.assertEqual(["in rescue"], [s["step"] for s in self.shown()["steps"]])

    def test_interrupted_preparation_is_shown_as_the_last_step(self) -> None:
        self.add_server(state=State.PREPARING)
        shown = self.shown()
        self.assertEqual(["preparing"], [each["step"] for each in shown["steps"]])
        self.assertEqual({""}, {each["change"] for each in shown["devices"]})

    def test_damaged_record_is_shown_without_a_plan(self) -> None:
        record = self.add_server()
        (self.directory(record) / "stable_rescue.json").write_text("{")
        shown = self.shown()
        self.assertEqual(("damaged", []), (shown["state"], shown["plan"]))
        self.assertIn("state           damaged", self.output("show", HISTORY))

    def test_device_that_moved_or_is_missing_is_marked(self) -> None:
        self.add_server()
        xml = self.domains.pop().replace('bus="0x0b"', 'bus="0x0e"', 1)
        self.domains.append(xml.replace("fa:16:3e:00:00:02", "fa:16:3e:00:00:03"))
        changes = {(d["change"], d["device"]) for d in self.shown()["devices"]}
        self.assertIn(("added", "interface fa:16:3e:00:00:03"), changes)
        self.assertIn(("missing", "interface fa:16:3e:00:00:02"), changes)
        self.assertIn(("moved", "disk"), changes)

    def test_server_without_a_rescue_fails_with_status_1(self) -> None:
        self.add_server(state=None)
        for command in ("show", "verify"):
            for server in (HISTORY, DOMAIN):
                self.assert_fails(1, "not in a rescue", words=(command, server))
            for server in (str(uuid.uuid4()), "instance-0000ffff"):
                self.assert_fails(1, f"no server {server}", words=(command, server))

    def test_rescue_that_keeps_changing_is_not_mixed_up(self) -> None:
        record = self.add_server()
        states = [State.RESCUED, State.ENDING] * rescues._ATTEMPTS
        with mock.patch.object(
            Store, "read", side_effect=[record.at(state) for state in states]
        ):
            self.assert_fails(69, "is changing; try again", words=("show", HISTORY))
        with mock.patch.object(
            Store,
            "read",
            side_effect=[record.at(state) for state in (*states[:2], states[1])],
        ):
            self.assertEqual("ending", self.shown()["state"])
