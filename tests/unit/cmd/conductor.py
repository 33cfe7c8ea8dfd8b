# SPDX-License-Identifier: Apache-2.0
"""A stub of Nova's conductor, for commands that ask it about servers."""

from collections.abc import Callable, Collection
from typing import Any

import fixtures
from nova import objects

from stable_rescue import nova_internals

#: The value of ``host`` in nova.conf, and another host's.
HERE, ELSEWHERE = "compute1", "compute2"


class Conductor(fixtures.Fixture):
    """What Nova's database has: ``servers`` by UUID."""

    def _setUp(self) -> None:
        objects.register_all()
        self.servers: dict[str, objects.Instance] = {}
        self.replace("connect_to_conductor", lambda: None)
        self.replace("instances_even_deleted", self._answer)

    def replace(self, name: str, function: Callable[..., Any]) -> None:
        """Replace a function of nova_internals."""
        self.useFixture(fixtures.MockPatchObject(nova_internals, name, function))

    def set_server(
        self, uuid: str, deleted: bool = False, host: str | None = HERE
    ) -> None:
        """Set what Nova's database has of a server."""
        self.servers[uuid] = objects.Instance(uuid=uuid, deleted=deleted, host=host)

    def _answer(
        self, uuids: Collection[str], _seconds: float | None = None
    ) -> dict[str, objects.Instance]:
        return {uuid: self.servers[uuid] for uuid in uuids if uuid in self.servers}
