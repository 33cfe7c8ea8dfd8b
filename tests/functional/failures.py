# SPDX-License-Identifier: Apache-2.0
"""A server, and ways to make its rescue or its unrescue fail."""

import contextlib
from collections.abc import Iterator
from typing import Any
from unittest import mock

import fixtures
from nova import exception as nova_exception
from nova.compute import vm_states
from nova.virt.libvirt import guest as libvirt_guest

from stable_rescue.compute import states
from stable_rescue.domain import recognize
from stable_rescue.domain.document import Domain
from tests.functional.server import ServerTestBase

NO_MEMORY = nova_exception.NovaException("cannot allocate memory at /dev/x")


class FailureTestBase(ServerTestBase):
    """A test case whose rescue or unrescue fails."""

    def fail_launch(self, of_rescue: bool) -> None:
        """Make each start of a rescue definition fail, or each of another one."""
        launch = libvirt_guest.Guest.launch

        def fail(guest: libvirt_guest.Guest, pause: bool = False) -> Any:
            if recognize.is_rescue(Domain.parse(guest._encoded_xml)) is of_rescue:
                raise NO_MEMORY
            return launch(guest, pause)

        self.useFixture(
            fixtures.MonkeyPatch("nova.virt.libvirt.guest.Guest.launch", fail)
        )

    @contextlib.contextmanager
    def nothing_starts_or_is_rolled_back(self) -> Iterator[None]:
        """Make each start fail, and each rollback: the rescue definition is left."""
        with (
            mock.patch("nova.virt.libvirt.guest.Guest.launch", side_effect=NO_MEMORY),
            mock.patch(
                "stable_rescue.virt.transitions.roll_back", side_effect=NO_MEMORY
            ),
        ):
            yield

    def set_error(self, *, is_ours: bool = True) -> None:
        """Set the server to ERROR, because of its rescue or as an operator does."""
        instance = self.instance()
        instance.vm_state = vm_states.ERROR
        if is_ours:
            states.mark_failed(instance, was_running=True)
        instance.save()

    def unrescue_without_cleanup(self) -> None:
        """Unrescue the server while its rescue disk cannot be removed."""
        with mock.patch(
            "stable_rescue.storage.medium.remove", side_effect=OSError(5, "I/O error")
        ):
            self.unrescue_server()
