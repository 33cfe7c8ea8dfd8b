# SPDX-License-Identifier: Apache-2.0
"""The users and endpoints of the lab, after an earlier attempt that was cut short."""

from types import SimpleNamespace
from typing import Any
from unittest import mock

from oslotest import base

from lab.cloud import identity

_MANY = 1000


class Keystone:
    """A stub of openstacksdk's proxy that stops before its n-th change."""

    def __init__(self) -> None:
        self.changes_left = _MANY
        self.created: dict[str, list[Any]] = {
            kind: [] for kind in ("role", "project", "user", "service", "endpoint")
        }
        self.granted: set[tuple[str, str, str]] = set()
        self.create_role(name="admin")
        self.changes_left = _MANY

    def _change(self) -> None:
        if not self.changes_left:
            raise KeyboardInterrupt
        self.changes_left -= 1

    def _create(self, kind: str, **values: Any) -> Any:
        self._change()
        resource = SimpleNamespace(id=f"{kind}-{len(self.created[kind])}", **values)
        self.created[kind].append(resource)
        return resource

    def create_role(self, **values: Any) -> Any:
        return self._create("role", **values)

    def create_project(self, **values: Any) -> Any:
        return self._create("project", **values)

    def create_user(self, **values: Any) -> Any:
        return self._create("user", **values)

    def create_service(self, **values: Any) -> Any:
        return self._create("service", **values)

    def create_endpoint(self, **values: Any) -> Any:
        return self._create("endpoint", **values)

    def find_project(self, name: str) -> Any:
        return next((p for p in self.created["project"] if p.name == name), None)

    def roles(self) -> list[Any]:
        return self.created["role"]

    def users(self) -> list[Any]:
        return self.created["user"]

    def services(self) -> list[Any]:
        return self.created["service"]

    def endpoints(self) -> list[Any]:
        return self.created["endpoint"]

    def assign_project_role_to_user(self, project: Any, user: Any, role: Any) -> None:
        self._change()
        self.granted.add((project.name, user.name, role.name))

    def content(self) -> Any:
        """Return everything that there is."""
        endpoints = sorted(
            (each.service_id, each.interface, each.url)
            for each in self.created["endpoint"]
        )
        names = {
            kind: sorted(each.name for each in self.created[kind])
            for kind in ("role", "project", "user", "service")
        }
        return names, endpoints, sorted(self.granted)


class IdentityTest(base.BaseTestCase):
    def populate(self, keystone: Keystone) -> None:
        lab = mock.Mock()
        lab.url = "http://192.0.2.1/{}".format
        connection = SimpleNamespace(identity=keystone)
        with mock.patch.object(identity.openstack, "connect", lambda: connection):
            identity.main(lab)

    def test_attempt_cut_short_anywhere_is_completed(self) -> None:
        whole = Keystone()
        self.populate(whole)
        names, endpoints, granted = whole.content()
        self.assertEqual(
            (5, 15, 10), (len(names["user"]), len(endpoints), len(granted))
        )
        for count in range(_MANY - whole.changes_left):
            keystone = Keystone()
            keystone.changes_left = count
            self.assertRaises(KeyboardInterrupt, self.populate, keystone)
            keystone.changes_left = _MANY
            self.populate(keystone)
            self.assertEqual(whole.content(), keystone.content(), count)
