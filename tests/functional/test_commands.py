# SPDX-License-Identifier: Apache-2.0
"""The commands for operators, with the files and the database of Nova's services."""

import argparse
import json
import shutil
from typing import Any
from unittest import mock

import fixtures
from nova.compute import task_states
from nova.conductor.manager import ConductorManager
from nova.objects.base import NovaObject

from stable_rescue import nova_internals
from stable_rescue.cmd import clean, listing
from stable_rescue.storage.record import State
from tests.functional.server import ServerTestBase

NO_SERVER = "00000000-5b6e-4789-8abc-def012345678"


class CommandsTest(ServerTestBase):
    def setUp(self) -> None:
        super().setUp()
        self.flags(host="compute1")

    def listed(self) -> list[dict[str, Any]]:
        """Return the rescues of the host."""
        options = argparse.Namespace(format="json")
        output = listing.run(options, self.libvirt_connection())
        return list(json.loads(output.text)["rescues"])

    def clean(self) -> dict[str, tuple[str, str]]:
        """Clean the host; return action and reason by the UUID of the server.

        The conductor of these tests is in this process.
        """
        options = argparse.Namespace(format="json", yes=True, dumps_older_than=None)
        with mock.patch("stable_rescue.nova_internals.connect_to_conductor"):
            output = clean.run(options, self.libvirt_connection())
        self.assertEqual(0, output.status)
        return {
            row["server"]: (row["action"], row["reason"])
            for row in json.loads(output.text)["leftovers"]
        }

    def test_list_follows_a_rescue_from_beginning_to_end(self) -> None:
        self.assertEqual([], self.listed())
        self.rescue_server()
        (rescue,) = self.listed()
        self.assertEqual(
            (self.server["id"], "stable", "rescued", self.image, "disk on usb"),
            tuple(
                rescue[key] for key in ("server", "kind", "state", "image", "device")
            ),
        )
        self.assertEqual(
            self.record().rescued_at.strftime("%Y-%m-%dT%H:%M:%SZ"), rescue["since"]
        )
        self.store().save(self.record().at(State.ENDING))
        self.assertEqual(["ending"], [each["state"] for each in self.listed()])
        self.store().save(self.record().at(State.RESCUED))
        self.unrescue_server()
        self.assertEqual([], self.listed())

    def test_stock_rescue_is_listed_as_stock(self) -> None:
        self.rescue_server(self.create_rescue_image())
        self.assertEqual(["stock"], [each["kind"] for each in self.listed()])

    def test_clean_removes_only_what_a_deleted_server_left(self) -> None:
        deleted = self.create_server()
        self.rescue_server()
        left = self.folder(deleted)
        self._delete_server(deleted)
        shutil.copytree(self.folder(self.server), left, dirs_exist_ok=True)
        before = self.files(self.server)
        self.assertEqual([deleted["id"]], list(results := self.clean()))
        self.assertEqual("removed", results[deleted["id"]][0])
        self.assertFalse(left.exists())
        self.assertEqual(before, self.files(self.server))
        self.assertEqual({}, self.clean())

    def test_conductor_answers_for_deleted_servers_as_well(self) -> None:
        """Through Nova's messages, in which the conductor of this test answers."""
        deleted = self.create_server()
        self._delete_server(deleted)
        answer = ConductorManager.object_class_action_versions
        self.useFixture(
            fixtures.MonkeyPatch("nova.objects.base.NovaObject.indirection_api", None)
        )

        def answer_itself(*args: Any, **options: Any) -> Any:
            # The conductor runs in this process as well.
            with mock.patch.object(NovaObject, "indirection_api", None):
                asked.append((options["objname"], options["objmethod"]))
                return answer(*args, **options)

        asked: list[Any] = []
        with mock.patch.object(
            ConductorManager, "object_class_action_versions", answer_itself
        ):
            nova_internals.connect_to_conductor()
            known = nova_internals.instances_even_deleted(
                {deleted["id"], self.server["id"], NO_SERVER}
            )
        self.assertEqual([("InstanceList", "get_by_filters")], asked)
        self.assertEqual(
            {
                deleted["id"]: (True, "compute1"),
                self.server["id"]: (False, "compute1"),
            },
            {uuid: (bool(each.deleted), each.host) for uuid, each in known.items()},
        )

    def test_clean_keeps_the_files_of_a_server_without_a_domain(self) -> None:
        """The host was reinstalled during the rescue."""
        self.rescue_server()
        before = self.files(self.server)
        self.domain().destroy()
        self.domain().undefine()
        for task_state in (None, task_states.UNRESCUING):
            self.set_nova_state("rescued", task_state)
            action, reason = self.clean()[self.server["id"]]
            self.assertEqual("kept", action)
            self.assertIn("Nova has the server on this host", reason)
        self.flags(host="compute2")
        self.assertEqual({}, self.clean())
        self.assertEqual(before, self.files(self.server))
