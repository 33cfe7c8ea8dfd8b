# SPDX-License-Identifier: Apache-2.0
"""stable-rescue list, with real files and a real libvirt client."""

import csv
import dataclasses
import io
import itertools
import json
import os
import subprocess
import sys
from typing import Any
from unittest import mock

import yaml

from stable_rescue import nova_internals
from stable_rescue.cmd import rescues
from stable_rescue.storage.record import State
from stable_rescue.storage.store import Store
from tests.unit.cmd import host
from tests.unit.cmd.conductor import ELSEWHERE, HERE, Conductor
from tests.unit.cmd.host import HostTestCase

HISTORY = "6c1f0a52-3a86-4d0b-8e0f-2f3f0b1c9a2a"

WRONG = (None, 5, "2026-01-01T00:00:00+02:00", [], {"a": "b"})


class ListTest(HostTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.options.append(f"host = {HERE}")
        self.conductor = self.useFixture(Conductor())

    def rescues(self) -> list[dict[str, Any]]:
        """Return the rescues of the host as the command prints them in JSON."""
        content = json.loads(self.output("list", "-f", "json"))
        self.assertEqual(1, content["schema_version"])
        return list(content["rescues"])

    def the_rescue(self) -> dict[str, Any]:
        """Return the only rescue of the host."""
        (rescue,) = self.rescues()
        return rescue

    def test_rescued_server_is_listed_with_all_that_is_known(self) -> None:
        record = self.add_server()
        self.save(dataclasses.replace(record, rescued_at=host.RESCUED_AT))
        self.assertEqual(
            {
                "server": HISTORY,
                "domain": "instance-0000002a",
                "kind": "stable",
                "state": "rescued",
                "since": "2026-11-28T01:02:03Z",
                "overdue": None,
                "image": host.IMAGE,
                "device": "disk on usb",
                "medium_bytes": 15 * host.MIB,
                "running": True,
            },
            self.the_rescue(),
        )

    def test_every_format_has_the_same_rescue(self) -> None:
        self.add_server()
        self.add_server("pc-scsi", state=None)
        (from_yaml,) = yaml.safe_load(self.output("list", "-f", "yaml"))["rescues"]
        self.assertEqual(self.the_rescue(), from_yaml)
        (from_csv,) = csv.DictReader(io.StringIO(self.output("list", "-f", "csv")))
        self.assertEqual(
            {key: "" if v is None else str(v) for key, v in from_yaml.items()}, from_csv
        )
        head, line = self.output("list").splitlines()
        self.assertEqual(["server", "kind", "state"], head.split()[:3])
        self.assertEqual([HISTORY, "stable", "rescued"], line.split()[:3])
        self.assertTrue(line.endswith(f"  15.0 MiB  {host.IMAGE}"), line)

    def test_host_without_rescues_has_an_empty_list(self) -> None:
        self.add_server(state=None)
        self.assertEqual([], self.rescues())
        self.assertEqual(1, len(self.output("list").splitlines()))

    def test_server_of_another_host_is_not_read(self) -> None:
        """Hosts may share instances_path."""
        self.add_server()
        self.domains.clear()
        self.conductor.set_server(HISTORY, host=ELSEWHERE)
        self.add_server("pc-scsi")
        with mock.patch.object(
            Store, "read", autospec=True, side_effect=Store.read
        ) as (read):
            self.assertNotEqual(HISTORY, self.the_rescue()["server"])
        self.assertEqual(1, read.call_count)

    def test_rescue_longer_than_rescue_timeout_is_overdue(self) -> None:
        record = self.add_server()
        self.options.append("rescue_timeout = 3600")
        self.assertIs(False, self.the_rescue()["overdue"])
        self.save(dataclasses.replace(record, rescued_at=host.RESCUED_AT))
        with mock.patch("oslo_utils.timeutils.utcnow") as now:
            for hours, overdue in ((1, False), (3, True)):
                now.return_value = host.RESCUED_AT.replace(
                    hour=host.RESCUED_AT.hour + hours
                )
                self.assertIs(overdue, self.the_rescue()["overdue"])

    def test_transition_longer_than_recovery_needs_is_overdue(self) -> None:
        record = self.add_server(state=State.ENDING)
        rescue = self.the_rescue()
        self.assertEqual(("ending", False), (rescue["state"], rescue["overdue"]))
        path = self.directory(record) / "stable_rescue.json"
        host.set_time(path, host.RESCUED_AT.replace(year=2025))
        rescue = self.the_rescue()
        self.assertEqual("2025-11-28T01:02:03Z", rescue["since"])
        self.assertIs(True, rescue["overdue"])

    def test_preparation_is_never_overdue(self) -> None:
        record = self.add_server(state=State.PREPARING)
        path = self.directory(record) / "stable_rescue.json"
        host.set_time(path, host.RESCUED_AT.replace(year=2025))
        rescue = self.the_rescue()
        self.assertEqual(
            ("preparing", None, "disk on usb"),
            (rescue["state"], rescue["overdue"], rescue["device"]),
        )

    def test_damaged_record_is_listed_as_damaged(self) -> None:
        record = self.add_server()
        path = self.directory(record) / "stable_rescue.json"
        for content in (b"", b"{", b"\xff\x00", b"[]", b'{"format": 99}'):
            path.write_bytes(content)
            rescue = self.the_rescue()
            self.assertEqual(
                ("damaged", "stable", None),
                (rescue["state"], rescue["kind"], rescue["image"]),
            )

    def test_record_with_any_wrong_value_ends_no_command(self) -> None:
        record = self.add_server()
        path = self.directory(record) / "stable_rescue.json"
        content = json.loads(path.read_text())
        self.assertGreater(len(content), 12)
        path_of_conf = self.nova_conf()
        states = set()
        with mock.patch.object(self, "nova_conf", return_value=path_of_conf):
            for key, value in itertools.product(content, WRONG):
                path.write_text(json.dumps(content | {key: value}))
                states.add(self.the_rescue()["state"])
                for command in ("show", "verify"):
                    status, _output, errors = self.run_command(command, HISTORY)
                    self.assertIn(status, (0, 3), (key, value, errors))
        self.assertEqual({"damaged", "rescued"}, states)

    def test_stock_rescue_without_record_is_unrecorded(self) -> None:
        record = self.add_server()
        Store(str(self.directory(record))).remove_record()
        xml = self.domains.pop().replace("ua-stable-rescue", "ua-other")
        self.domains.append(xml)
        rescue = self.the_rescue()
        self.assertEqual(("unrecorded", "stock"), (rescue["state"], rescue["kind"]))

    def test_unrescue_xml_of_a_restored_server_is_a_leftover(self) -> None:
        record = self.add_server(state=State.ENDED)
        Store(str(self.directory(record))).remove_record()
        self.assertEqual("leftover", self.the_rescue()["state"])

    def test_rescue_that_ends_while_it_is_read_is_left_out(self) -> None:
        record = self.add_server(state=State.ENDED)
        store = Store(str(self.directory(record)))

        def vanish(_store: Store) -> None:
            store.remove_all()

        with mock.patch.object(Store, "read", autospec=True, side_effect=vanish):
            self.assertEqual([], self.rescues())

    def test_record_that_this_user_cannot_read_names_its_owner(self) -> None:
        record = self.add_server()
        path = self.directory(record) / "stable_rescue.json"
        denied = PermissionError(13, "Permission denied", str(path))
        with (
            mock.patch.object(Store, "read", side_effect=denied),
            mock.patch("pwd.getpwuid") as user,
        ):
            user.return_value.pw_name = "nova"
            self.assert_fails(
                77,
                f"{path}: Permission denied; run the command as root or as nova",
                words=("list",),
            )

    def test_characters_that_control_a_terminal_are_not_printed(self) -> None:
        record = self.add_server()
        self.save(dataclasses.replace(record, image_id="a\x1b[2Jb\nc"))
        self.assertIn("  a?[2Jb c\n", self.output("list"))

    def test_unreachable_libvirt_is_named_with_the_reason(self) -> None:
        other = self.folder / "other.conf"
        other.write_text("[libvirt]\nconnection_uri = test:///nowhere.xml\n")
        words = ("list", "--config-file", str(other))
        self.assert_fails(69, "libvirt does not answer", "nowhere", words=words)

    def test_folder_of_configuration_files_is_read(self) -> None:
        self.add_server()
        folder = self.folder / "nova.conf.d"
        folder.mkdir()
        (folder / "timeout.conf").write_text("[DEFAULT]\nrescue_timeout = 3600\n")
        output = self.output("list", "--config-dir", str(folder), "-f", "json")
        self.assertIs(False, json.loads(output)["rescues"][0]["overdue"])

    def test_missing_configuration_file_is_named(self) -> None:
        words = ("list", "--config-file", "/nowhere/nova.conf")
        self.assert_fails(78, "/nowhere/nova.conf", words=words)

    def test_option_with_a_wrong_value_is_named(self) -> None:
        self.add_server()
        self.options.append("rescue_timeout = soon")
        self.assert_fails(78, "rescue_timeout", words=("list",))

    def test_server_that_libvirt_has_lost_is_listed(self) -> None:
        record = self.add_server()
        self.save(dataclasses.replace(record, rescued_at=host.RESCUED_AT))
        self.domains.clear()
        self.conductor.set_server(HISTORY)
        self.assertEqual(
            {
                "server": HISTORY,
                "domain": None,
                "kind": "stable",
                "state": "no-domain",
                "since": "2026-11-28T01:02:03Z",
                "overdue": None,
                "image": host.IMAGE,
                "device": "disk on usb",
                "medium_bytes": 15 * host.MIB,
                "running": False,
            },
            self.the_rescue(),
        )

    def test_files_of_a_lost_server_are_enough_to_list_it(self) -> None:
        record = self.add_server()
        self.domains.clear()
        self.conductor.set_server(HISTORY)
        path = self.directory(record) / "stable_rescue.json"
        path.write_text("{")
        rescue = self.the_rescue()
        self.assertEqual(("no-domain", None), (rescue["state"], rescue["kind"]))
        path.unlink()
        self.assertEqual("no-domain", self.the_rescue()["state"])

    def test_deleted_and_unknown_servers_are_left_to_clean(self) -> None:
        self.add_server()
        self.domains.clear()
        self.assertEqual([], self.rescues())
        self.conductor.set_server(HISTORY, deleted=True)
        self.assertEqual([], self.rescues())

    def test_lost_servers_are_listed_without_the_conductor(self) -> None:
        self.add_server()
        self.domains.clear()
        error = nova_internals.NoAnswerError("no answer within 10 seconds")
        self.conductor.replace("instances_even_deleted", mock.Mock(side_effect=error))
        status, output, errors = self.run_command("list", "-f", "json")
        self.assertEqual(0, status)
        (rescue,) = json.loads(output)["rescues"]
        self.assertEqual("no-domain", rescue["state"])
        self.assertIn("no answer within 10 seconds", errors)
        self.assertIn("may be on other hosts", errors)

    def test_conductor_is_not_asked_about_servers_of_libvirt(self) -> None:
        self.add_server()
        self.add_server("pc-scsi", state=None)
        asked = mock.Mock(side_effect=AssertionError)
        self.conductor.replace("instances_even_deleted", asked)
        self.assertEqual(HISTORY, self.the_rescue()["server"])
        self.assertFalse(asked.called)

    def test_server_that_is_defined_meanwhile_has_its_domain(self) -> None:
        self.add_server()
        self.conductor.set_server(HISTORY)
        with mock.patch.object(rescues, "domains_of", return_value=[]):
            rescue = self.the_rescue()
        self.assertEqual(
            ("rescued", "instance-0000002a"), (rescue["state"], rescue["domain"])
        )

    def test_host_without_instances_path_has_an_empty_list(self) -> None:
        self.instances.rmdir()
        self.assertEqual([], self.rescues())


class ProcessTest(HostTestCase):
    """The command in another process."""

    def run_python(self, code: str, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", code, *words],
            env={**os.environ, "PYTHONPATH": str(host.ROOT)},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    def test_command_prints_its_rescue_and_nothing_else(self) -> None:
        self.add_server()
        code = "import sys; from stable_rescue.cmd import main; sys.exit(main.main())"
        process = self.run_python(
            code, "list", "--config-file", str(self.nova_conf()), "-f", "csv"
        )
        self.assertEqual((0, ""), (process.returncode, process.stderr))
        self.assertEqual(2, len(process.stdout.splitlines()))

    def test_python_without_nova_is_named(self) -> None:
        code = "import sys; sys.modules['nova'] = None\n"
        code += "from stable_rescue.cmd import main; sys.exit(main.main(['list']))"
        process = self.run_python(code)
        self.assertEqual((69, ""), (process.returncode, process.stdout))
        self.assertIn(sys.prefix, process.stderr)
        self.assertNotIn("Traceback", process.stderr)
