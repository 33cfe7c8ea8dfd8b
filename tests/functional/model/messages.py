# SPDX-License-Identifier: Apache-2.0
"""Messages to nova-compute and nova-conductor, delivered in the sender's thread.

Those to nova-compute can be late.
"""

import contextlib
import enum
from collections.abc import Callable
from typing import Any

import fixtures
import oslo_messaging
from nova.objects import base as objects_base
from oslo_messaging.rpc import dispatcher as rpc_dispatcher

from tests.functional.faults.strikes import Killed


class Fate(enum.Enum):
    """What becomes of a message that asks nova-compute to do something."""

    DELIVERED = "delivered"
    LATE = "late"
    LOST = "lost"


class Messages(fixtures.Fixture):
    """Calls the manager instead of sending a message, so that a kill ends the call.

    ``fate`` is the fate of each message; one that expects an answer is always
    delivered. ``late`` holds the messages that are delivered when `deliver_late` is
    called. ``killed`` and ``error`` say how the last message's work has ended, if it
    did not succeed. While ``is_down`` is set, nova-compute receives nothing.
    """

    def __init__(self, manager_of: Callable[[str], Any], conductor: Any) -> None:
        """Begin with every message delivered.

        :param manager_of: returns the compute manager of a host, or None for a host
            that is not part of the test
        :param conductor: the manager of nova-conductor's tasks
        """
        super().__init__()
        self._manager_of = manager_of
        self._conductor = conductor
        self.begin()

    def begin(self) -> None:
        """Remove all messages and results."""
        self.fate = Fate.DELIVERED
        self.is_down = False
        self.late: list[Callable[[], None]] = []
        self.killed: Killed | None = None
        self.error: Exception | None = None

    def _setUp(self) -> None:
        self.useFixture(
            fixtures.MonkeyPatch(
                "nova.compute.rpcapi.ComputeAPI.router",
                property(lambda _rpc: self),
            )
        )

        self.useFixture(
            fixtures.MonkeyPatch(
                "nova.conductor.rpcapi.ComputeTaskAPI.client",
                property(lambda _rpc: ConductorClient(self._conductor), _ignore),
            )
        )

        # Nova takes a snapshot in another thread.
        self.useFixture(
            fixtures.MonkeyPatch(
                "nova.compute.manager.ComputeManager._start_recorded_task",
                lambda _manager, _pool, _name, _instance, _context, task, *args: task(
                    *args
                ),
            )
        )

    def client(self, _context: Any) -> "Client":
        """Return what Nova sends messages with."""
        return Client(self)

    def cast(self, host: str, context: Any, method: str, args: dict[str, Any]) -> None:
        """Deliver a message that expects no answer, now, later or never."""
        deliver = self._delivery(host, context, method, args)
        if self.fate is Fate.LATE or self.is_down:
            self.late.append(deliver)
        elif self.fate is Fate.DELIVERED:
            self._try(deliver)

    def call(self, host: str, context: Any, method: str, args: dict[str, Any]) -> Any:
        """Deliver a message and return the answer."""
        if self.is_down:
            raise oslo_messaging.MessagingTimeout
        return self._delivery(host, context, method, args)()

    def deliver_late(self) -> None:
        """Deliver the messages that are late, in order, until a kill."""
        while self.late and self.killed is None:
            self._try(self.late.pop(0))

    def _delivery(
        self, host: str, context: Any, method: str, args: dict[str, Any]
    ) -> Callable[[], Any]:
        """Return a function that calls the manager with copies of the arguments."""
        serializer = objects_base.NovaObjectSerializer()
        sent = serializer.serialize_entity(context, args)

        def deliver() -> Any:
            manager = self._manager_of(host)
            if manager is None:
                return None
            received = serializer.deserialize_entity(context, sent)
            return getattr(manager, method)(context, **received)

        return deliver

    def _try(self, deliver: Callable[[], Any]) -> None:
        try:
            deliver()
        except Killed as killed:
            self.killed = killed
        except Exception as error:  # noqa: BLE001 - a cast hides it from the API
            self.error = error


class Client:
    """Replaces oslo.messaging's RPCClient."""

    def __init__(self, messages: Messages, host: str = "") -> None:
        self._messages = messages
        self._host = host

    def prepare(self, server: str = "", **_options: Any) -> "Client":
        """Return a client for one host."""
        return Client(self._messages, server)

    def can_send_version(self, *_args: Any) -> bool:
        """Return True: each host understands each version."""
        return True

    def cast(self, context: Any, method: str, **args: Any) -> None:
        """Send a message that expects no answer."""
        self._messages.cast(self._host, context, method, args)

    def call(self, context: Any, method: str, **args: Any) -> Any:
        """Send a message and return the answer."""
        return self._messages.call(self._host, context, method, args)


class ConductorClient(Client):
    """Replaces the RPCClient that asks nova-conductor for a task."""

    def __init__(self, conductor: Any) -> None:
        self._conductor = conductor

    def prepare(self, **_options: Any) -> "ConductorClient":
        """Return this client."""
        return self

    def cast(self, context: Any, method: str, **args: Any) -> None:
        """Start a task; its error does not reach the API."""
        with contextlib.suppress(Exception):
            self.call(context, method, **args)

    def call(self, context: Any, method: str, **args: Any) -> Any:
        """Do a task with copies of the arguments."""
        serializer = objects_base.NovaObjectSerializer()
        sent = serializer.serialize_entity(context, args)
        received = serializer.deserialize_entity(context, sent)
        try:
            return getattr(self._conductor, method)(context, **received)
        except rpc_dispatcher.ExpectedException as error:
            raise error.exc_info[1] from None


def _ignore(_rpc: Any, _client: Any) -> None:
    """Ignore the client that Nova's constructor sets."""
