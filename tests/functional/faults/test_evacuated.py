# SPDX-License-Identifier: Apache-2.0
"""A server is evacuated after a fault in its rescue, and then its host comes back.

Then the server runs on another host, perhaps on the same disks. The host that comes
back must not start it, and must keep nothing of it.
"""

from collections.abc import Mapping
from typing import Any

import fixtures
from nova import objects
from nova.compute import power_state, task_states, vm_states
from nova.objects import fields
from nova.tests.fixtures import libvirt

from tests.faults.engine import Fault
from tests.faults.places import Place
from tests.functional.faults.base import RowTestBase
from tests.functional.faults.snapshot import FromModelSnapshot
from tests.functional.faults.strikes import Kill, LibvirtLost
from tests.functional.volumes import VOLUMES, VolumesTestBase

ELSEWHERE = "compute2"


class HostCrash(Kill):
    """The host goes down with nova-compute: no guest runs, no volume is connected."""


class EvacuatedTest(FromModelSnapshot, VolumesTestBase, RowTestBase):
    """Each cell ends on a host that the server has left.

    After a crash of the host, the evacuation has ended when the host comes back. After
    another fault, it is still under way. If libvirt was lost, the hosts share
    instances_path, so the record and the mark of the failed rescue are still there.
    """

    running = True
    situation = "evacuated"
    volumes = VOLUMES[:1]
    faults = {
        "SIGKILL": Kill,
        "host crash": HostCrash,
        "libvirt lost": LibvirtLost,
    }

    def setUp(self) -> None:
        super().setUp()
        self.folders = (self.storage.folder,)
        # nova-compute recovers servers only if it has one to initialize.
        self.other = self.create_server()
        self.starts: list[str] = []
        #: What the other host knows, once the server was evacuated.
        self.evacuated: Any = None
        self._watch_starts()
        self.useFixture(
            fixtures.MockPatch(
                "nova.compute.rpcapi.ComputeAPI.check_instance_shared_storage",
                side_effect=lambda *_args, **_options: self.is_shared,
            )
        )

    def _watch_starts(self) -> None:
        create = libvirt.Domain.createWithFlags

        def start(domain: Any, flags: int) -> Any:
            self.starts.append(domain.name())
            return create(domain, flags)

        self.useFixture(
            fixtures.MonkeyPatch(
                "nova.tests.fixtures.libvirt.Domain.createWithFlags", start
            )
        )

    def perform(self, faults: Mapping[Place, Fault]) -> list[Place]:
        reached = super().perform(faults)
        for fault in faults.values():
            self.evacuate(fault)
        return reached

    def evacuate(self, fault: Fault) -> None:
        """Evacuate the server, as an operator does who has lost its host."""
        is_under_way = not isinstance(fault, HostCrash)
        self.is_shared = isinstance(fault, LibvirtLost)
        if not is_under_way:
            self.domain().destroy()
            self.storage.reboot()
        instance = self.instance()
        objects.Migration(
            self.context,
            instance_uuid=instance.uuid,
            source_compute=instance.host,
            source_node=instance.node,
            dest_compute=ELSEWHERE,
            status="pre-migrating" if is_under_way else "done",
            migration_type=fields.MigrationType.EVACUATION,
        ).create()
        # The operator resets the state, because Nova evacuates no rescued server.
        instance.vm_state, instance.task_state = vm_states.ERROR, None
        if is_under_way:
            instance.task_state = task_states.REBUILD_SPAWNING
        else:
            instance.host = ELSEWHERE
            instance.vm_state = vm_states.ACTIVE
            instance.power_state = power_state.RUNNING
        instance.save(admin_state_reset=True)
        self.evacuated = self.elsewhere()
        if isinstance(fault, LibvirtLost):
            # nova-compute has never stopped, and libvirt answers again.
            guest = self.guest()
            self.recover_stalled()
            self.assertEqual(guest, self.guest())

    def guest(self) -> Any:
        """Return what is left of the server on this host."""
        return self.live_definition(), self.next_definition(), self.domain().isActive()

    def elsewhere(self) -> Any:
        """Return what the other host knows about the server."""
        return self.nova_state(), self.instance().host

    def begin(self) -> None:
        super().begin()
        self.evacuated = None

    def restart(self) -> None:
        self.starts.clear()
        super().restart()
        self.recover_stalled()

    def end(self) -> None:
        if self.evacuated is None:
            super().end()
            return
        self.assertEqual([], self.starts)
        self.assertEqual(self.evacuated, self.elsewhere())
        domains = self.libvirt_connection()._vms.values()
        self.assertEqual(
            [self.other["id"]], [domain.UUIDString() for domain in domains]
        )
        self.assertEqual([], self.storage.connected())
        self.assertEqual(self.is_shared, self.folder(self.server).exists())

    def test_server_that_was_evacuated_is_left_alone(self) -> None:
        self.strike_rows({"action": "rescue"}, {"action": "unrescue"})
