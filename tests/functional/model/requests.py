# SPDX-License-Identifier: Apache-2.0
"""What users and operators ask Nova's API for."""

from collections.abc import Callable
from typing import Any

import fixtures
from nova import context as nova_context
from nova import objects
from nova.compute import api as compute_api
from nova.compute import vm_states
from nova.tests.fixtures import NeutronFixture

from tests.functional.model.messages import Fate, Messages
from tests.functional.volumes import VOLUMES, VolumesTestBase

#: The volume and the port that are attached and detached.
VOLUME = VOLUMES[1]
PORT = NeutronFixture.port_1["id"]
TAP = f"tap{PORT[:11]}"


class Requests(VolumesTestBase):
    """The requests of the model by name, for a test case with one server.

    ``marks`` holds what the operator has set and nothing but a request may change.
    """

    marks: dict[str, Any]
    messages: Messages

    def setUp(self) -> None:
        super().setUp()
        api = self.compute_api = compute_api.API()
        self.requests: dict[str, Callable[..., Any]] = {
            "unrescue": api.unrescue,
            "stop": api.stop,
            "start": api.start,
            "soft reboot": lambda *server: api.reboot(*server, "SOFT"),
            "hard reboot": lambda *server: api.reboot(*server, "HARD"),
            "rebuild": self._rebuild,
            "delete": api.delete,
            "force delete": api.force_delete,
            "soft delete": api.soft_delete,
            "restore": api.restore,
            "snapshot": lambda *server: api.snapshot(*server, "snapshot"),
            "attach or detach volume": self._attach_or_detach_volume,
            "attach or detach port": self._attach_or_detach_port,
            "set metadata": self._set_metadata,
            "lock or unlock": self._lock_or_unlock,
            "reset to error": self._reset_to_error,
            "migrate": api.resize,
            "live migrate": lambda *server: api.live_migrate(
                *server, False, False, None
            ),
        }
        # Nova's fixtures have no disk that could be copied.
        self.useFixture(
            fixtures.MockPatch("nova.virt.libvirt.imagebackend.Backend.by_libvirt_path")
        )
        for name in ("rescue", "stock rescue"):
            self.requests[name] = self._rescue_with(name)

    def _rescue_with(self, name: str) -> Callable[..., Any]:
        return lambda *server: self.compute_api.rescue(*server, None, self.images[name])

    def _rebuild(
        self, context: nova_context.RequestContext, instance: objects.Instance
    ) -> None:
        self.compute_api.rebuild(context, instance, instance.image_ref, "password")
        # Nova's fixtures do not create this directory.
        self.folder(self.server).mkdir(exist_ok=True)

    def _attach_or_detach_volume(
        self, context: nova_context.RequestContext, instance: objects.Instance
    ) -> None:
        if VOLUME in self.connections():
            volume = self.compute_api.volume_api.get(context, VOLUME)
            self.compute_api.detach_volume(context, instance, volume)
        else:
            # If the message is lost, Nova never removes the mapping.
            self.messages.fate = Fate.DELIVERED
            self.compute_api.attach_volume(context, instance, VOLUME)

    def _attach_or_detach_port(
        self, context: nova_context.RequestContext, instance: objects.Instance
    ) -> None:
        if PORT in self.ports():
            self.compute_api.detach_interface(context, instance, PORT)
        else:
            self.compute_api.attach_interface(context, instance, None, PORT, None)

    def _set_metadata(
        self, context: nova_context.RequestContext, instance: objects.Instance
    ) -> None:
        metadata = {"mark": self.marks["metadata"].get("mark", "") + "x"}
        self.compute_api.update_instance_metadata(context, instance, metadata)
        self.marks["metadata"] = metadata

    def _lock_or_unlock(
        self, context: nova_context.RequestContext, instance: objects.Instance
    ) -> None:
        if instance.locked:
            self.compute_api.unlock(context, instance)
        else:
            self.compute_api.lock(context, instance)
        self.marks["locked"] = not self.marks["locked"]

    def _reset_to_error(
        self, context: nova_context.RequestContext, instance: objects.Instance
    ) -> None:
        """Set the server to ERROR, as an operator does to evacuate or inspect it."""
        instance.vm_state, instance.task_state = vm_states.ERROR, None
        instance.save(admin_state_reset=True)

    def ports(self) -> dict[str, str]:
        """Return the MAC address of each port that Neutron has for the server."""
        return {
            port["id"]: port["mac_address"]
            for port in self.neutron._ports.values()
            if port.get("device_id") == self.server["id"]
        }
