# SPDX-License-Identifier: Apache-2.0
"""The manager of stable rescue with drivers other than StableRescueDriver."""

import datetime
from typing import Any

import fixtures
from nova import context, objects, service
from nova import exception as nova_exception
from nova.compute import manager as nova_manager
from nova.compute import power_state, task_states, vm_states
from nova.tests import fixtures as nova_fixtures
from nova.tests.functional import integrated_helpers
from nova.tests.functional.api import client
from nova.virt import fake

from stable_rescue import activation
from stable_rescue.compute.manager import ComputeManager
from stable_rescue.outcome import Outcome
from stable_rescue.storage.known_rescue import KnownRescue
from tests.fixtures import ApiPasteFixture
from tests.patience import PatientMixin

LONG_AGO = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)


class OtherDriverTestBase(PatientMixin, integrated_helpers.ProviderUsageBaseTestCase):
    """A compute host with another driver, the manager of stable rescue, a server."""

    compute_driver = "fake.MediumFakeDriver"

    def setUp(self) -> None:
        self.useFixture(ApiPasteFixture())
        managers = dict(service.SERVICE_MANAGERS)
        self.useFixture(fixtures.MonkeyPatch("nova.service.SERVICE_MANAGERS", managers))
        super().setUp()
        # What the package of such a driver does, see the page about other drivers.
        activation.install_manager()
        self.useFixture(nova_fixtures.CastAsCallFixture(self))
        self.compute = self._start_compute("host1")
        self.context = context.get_admin_context()
        server = self.api.post_server({"server": self._build_server(networks="none")})
        self.server = self._wait_for_state_change(server, "ACTIVE")

    @property
    def manager(self) -> Any:
        return self.compute.manager

    def instance(self) -> objects.Instance:
        return objects.Instance.get_by_uuid(self.context, self.server["id"])

    def act(self, action: str, status: str) -> None:
        """Request a rescue or an unrescue, and wait for the status."""
        self.api.post_server_action(self.server["id"], {action: None})
        self._wait_for_server_parameter(
            self.server, {"status": status, "OS-EXT-STS:task_state": None}
        )

    def save(self, **fields: Any) -> None:
        """Set fields of the server in Nova's database."""
        instance = self.instance()
        for name, value in fields.items():
            setattr(instance, name, value)
        instance.save()


class StockDriverTest(OtherDriverTestBase):
    """A driver without stable rescue has Nova's behavior everywhere."""

    def test_driver_without_stable_rescue_behaves_as_in_nova(self) -> None:
        self.assertIs(nova_manager.ComputeManager, type(self.manager))
        self.act("rescue", "RESCUE")
        self.act("unrescue", "ACTIVE")

        self.act("rescue", "RESCUE")
        self.save(launched_at=LONG_AGO)
        self.flags(rescue_timeout=3600)
        self.manager._poll_rescued_instances(self.context)
        self._wait_for_state_change(self.server, "ACTIVE")

        # Nova does not recover an interrupted rescue.
        self.save(task_state=task_states.RESCUING)
        self.restart_compute_service(self.compute)
        self.assertEqual(task_states.RESCUING, self.instance().task_state)


class OtherDriver(fake.MediumFakeDriver):
    """Somebody else's driver that takes part; it keeps its rescues in memory."""

    #: By instance UUID: whether the guest ran. Kept when nova-compute restarts.
    rescued: dict[str, bool] = {}
    #: What the manager called, in order.
    calls: list[str] = []
    fails = False

    def prepare_rescue(
        self,
        context: Any,
        instance: Any,
        image_id: str,
        admin_password: str,
        get_block_device_info: Any,
    ) -> bool:
        if self.fails:
            raise nova_exception.InstanceNotRescuable(
                instance_id=instance.uuid, reason="not today"
            )
        assert self.get_info(instance).state == power_state.RUNNING
        get_block_device_info()
        self.calls.append("prepare")
        return True

    def confirm_rescue(self, context: Any, instance: Any) -> None:
        assert self.get_info(instance).state == power_state.RUNNING
        self.calls.append("confirm")

    def rescue(self, context: Any, instance: Any, *args: Any) -> None:
        assert self.get_info(instance).state == power_state.RUNNING
        self.power_off(instance)
        self.calls.append("rescue")
        self.rescued[instance.uuid] = True
        self.instances[instance.uuid].state = power_state.RUNNING

    def unrescue(self, context: Any, instance: Any) -> None:
        self.calls.append("unrescue")
        super().unrescue(context, instance)

    def discard_rescue(self, instance: Any, deleted: bool) -> None:
        self.calls.append("discard")

    def known_rescue(self, instance: Any) -> KnownRescue:
        has_record = instance.uuid in self.rescued
        return KnownRescue(None, has_record, is_lost=has_record)

    def instances_with_rescue_record(self) -> list[str]:
        return list(self.rescued)

    def recover_rescue(
        self, context: Any, instance: Any, finish: bool = False
    ) -> Outcome | None:
        self.calls.append("recover")
        return Outcome.RESTORED if self.rescued.pop(instance.uuid, None) else None

    def clean_up_rescue(self, context: Any, instance: Any) -> None:
        self.calls.append("clean up")

    def remove_rescue_record(self, instance: Any) -> None:
        self.calls.append("remove record")
        self.rescued.pop(instance.uuid, None)


class TakingPartTest(OtherDriverTestBase):
    """Somebody else's driver has the methods that the manager needs."""

    compute_driver = "fake.OtherDriver"

    def setUp(self) -> None:
        OtherDriver.rescued, OtherDriver.calls = {}, []
        self.useFixture(fixtures.MonkeyPatch("nova.virt.fake.OtherDriver", OtherDriver))
        super().setUp()
        self.assertIs(ComputeManager, type(self.manager))

    def test_driver_that_takes_part_is_prepared_and_recovered(self) -> None:
        self.act("rescue", "RESCUE")
        self.act("unrescue", "ACTIVE")
        self.assertEqual(
            ["prepare", "confirm", "rescue", "unrescue", "remove record"],
            OtherDriver.calls,
        )
        self.useFixture(fixtures.MockPatchObject(OtherDriver, "fails", True))
        error = self.assertRaises(
            client.OpenStackApiException, self.act, "rescue", "RESCUE"
        )
        self.assertIn("not today", error.response.text)
        self.assertEqual(vm_states.ACTIVE, self.instance().vm_state)

        OtherDriver.rescued[self.server["id"]] = True
        self.save(task_state=task_states.RESCUING)
        self.restart_compute_service(self.compute)
        self._wait_for_server_parameter(self.server, {"OS-EXT-STS:task_state": None})
        self.assertIn("recover", OtherDriver.calls)
