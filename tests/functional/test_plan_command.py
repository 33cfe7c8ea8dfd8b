# SPDX-License-Identifier: Apache-2.0
"""An operator has nova-compute plan a rescue; nothing is changed by that."""

import dataclasses
from collections.abc import Callable
from typing import Any
from unittest import mock

import fixtures
from nova.compute import task_states, vm_states
from oslo_concurrency import lockutils
from oslo_utils.fixture import uuidsentinel as uuids

from stable_rescue.cmd.exits import NOT_FOUND, REFUSED, UNAVAILABLE
from stable_rescue.domain.document import Domain
from stable_rescue.storage import requests
from stable_rescue.storage.record import State
from stable_rescue.virt.planning import Planned
from tests.functional.asking import NO_SERVER
from tests.functional.failures import FailureTestBase
from tests.functional.memory import MemoryFixture
from tests.functional.overlays import OverlaysFixture
from tests.functional.plans import PlanTestBase


class PlanTest(PlanTestBase, FailureTestBase):
    def test_rescue_defines_what_was_planned(self) -> None:
        for properties in (
            {"hw_rescue_bus": "usb"},
            {"hw_rescue_bus": "scsi", "hw_rescue_device": "cdrom"},
            {"hw_rescue_device": "floppy"},
        ):
            image = self.create_rescue_image(**properties)
            plan = self.plan(image)
            self.assert_rescue_is_as_planned(plan, image)
            self.unrescue_server()
        self.assertIn("whether libvirt accepts", "".join(plan.findings))

    def test_rescue_of_a_stopped_server_is_planned(self) -> None:
        self._stop_server(self.server)
        self.assert_rescue_is_as_planned(self.plan(), self.image)

    def test_rescue_that_discards_its_writes_is_planned(self) -> None:
        self.useFixture(OverlaysFixture())
        self.note_original()
        self.flags(allowed_writes="keep,discard", group="stable_rescue")
        image = self.create_rescue_image(
            hw_rescue_bus="usb", hw_rescue_writes="discard"
        )
        for is_stopped in (False, True):
            if is_stopped:
                self._stop_server(self.server)
            self.assert_rescue_is_as_planned(self.plan(image), image)
            self.unrescue_server("SHUTOFF" if is_stopped else "ACTIVE")

    def test_rescue_with_a_memory_dump_is_planned(self) -> None:
        self.useFixture(MemoryFixture())
        folder = self.useFixture(fixtures.TempDir()).path
        self.flags(memory_dump_path=folder, group="stable_rescue")
        image = self.create_rescue_image(hw_rescue_bus="usb", hw_rescue_memory="dump")
        plan = self.plan(image)
        self.assertIn("is paused while its", "".join(plan.findings))
        self.assert_rescue_is_as_planned(plan, image)
        self.unrescue_server()
        self._stop_server(self.server)
        self.assert_not_planned(REFUSED, "has no memory to dump", image=image)

    def test_given_properties_replace_those_of_the_image(self) -> None:
        plan = self.plan(hw_rescue_bus="virtio", hw_rescue_device="disk")
        image = self.create_rescue_image(
            hw_rescue_bus="virtio", hw_rescue_device="disk"
        )
        self.assert_rescue_is_as_planned(plan, image)

    def test_image_that_is_not_named_is_chosen_as_in_a_rescue(self) -> None:
        self.flags(rescue_image_id=self.image, group="libvirt")
        self.assertEqual("usb", self.plan(image="").bus)

    def test_unsuitable_image_is_refused_as_in_a_rescue(self) -> None:
        image = self.create_rescue_image(hw_rescue_bus="usb", status="queued")
        self.assert_both_refuse("is queued, not active", image)
        image = self.create_rescue_image(hw_rescue_bus="usb", hw_architecture="ppc64")
        self.assert_both_refuse("is for ppc64", image)
        self.assert_not_planned(REFUSED, "allowed are virtio", hw_rescue_bus="warp")
        self.assert_not_planned(REFUSED, "allows keep", hw_rescue_network="quarantine")

    def test_stock_rescue_is_checked_but_not_planned(self) -> None:
        image = self.create_rescue_image()
        self.assert_not_planned(NOT_FOUND, "asks for a stock rescue", image=image)
        image = self.create_rescue_image(status="queued")
        self.assert_both_refuse("is queued, not active", image)

    def test_error_of_the_host_is_reported_with_its_cause(self) -> None:
        with mock.patch(
            "stable_rescue.storage.content.read", side_effect=OSError(28, "No space")
        ):
            text = self.assert_not_planned(REFUSED, "OSError: [Errno 28] No space")
            self.assert_refused(text.partition(" (")[0])

    def test_server_in_another_state_is_refused_as_by_the_api(self) -> None:
        self.rescue_server()
        text = self.assert_not_planned(REFUSED, "vm_state rescued")
        self.assertIn(text, self.error_of(self.rescue, self.server, self.image))
        self.unrescue_server()
        self.set_nova_state(vm_states.ACTIVE, task_states.REBUILDING)
        text = self.assert_not_planned(REFUSED, "task_state rebuilding")
        self.assertIn(text, self.error_of(self.rescue, self.server, self.image))

    def test_vtpm_is_refused_as_by_the_api(self) -> None:
        with mock.patch("nova.virt.hardware.get_vtpm_constraint", return_value="tpm"):
            text = self.assert_not_planned(REFUSED, "'rescue' not supported for vTPM")
            self.assertIn(text, self.error_of(self.rescue, self.server, self.image))

    def test_locked_server_has_a_finding(self) -> None:
        self.api.post_server_action(self.server["id"], {"lock": {}})
        self.assertIn("the server is locked", self.plan().findings[0])

    def test_server_at_work_is_busy(self) -> None:
        with lockutils.lock(self.server["id"]):
            self.assert_not_planned(UNAVAILABLE, "another operation works")

    def test_server_that_is_not_here_is_not_planned(self) -> None:
        self.assert_not_planned(NOT_FOUND, "no server", server=NO_SERVER)
        instance = self.instance()
        instance.host = "compute2"
        instance.save()
        self.assert_not_planned(NOT_FOUND, "is on another host")

    def change_while_planned(self, change: Callable[[], object]) -> None:
        """Change something when a plan is made, before it is answered."""
        plan_rescue = self.driver.plan_rescue

        def change_then(*arguments: Any) -> Planned:
            planned = plan_rescue(*arguments)
            change()
            return planned

        self.useFixture(
            fixtures.MockPatchObject(self.driver, "plan_rescue", change_then)
        )

    def test_server_deleted_meanwhile_is_not_planned(self) -> None:
        self.change_while_planned(lambda: self._delete_server(self.server))
        (result,) = self.results()
        self.assertEqual(NOT_FOUND, result[0])
        self.assertEqual({}, self.libvirt_connection()._vms)

    def test_server_rescued_meanwhile_is_refused(self) -> None:
        self.change_while_planned(self.rescue_server)
        (result,) = self.results()
        self.assertIn("vm_state rescued", result[1])
        self.assert_rescued()

    def test_server_whose_devices_change_meanwhile_is_refused(self) -> None:
        self.change_while_planned(
            lambda: self.useFixture(
                fixtures.MockPatch(
                    "stable_rescue.virt.guest.differences",
                    return_value=[("disk", "vdb")],
                )
            )
        )
        self.assert_not_planned(REFUSED, "devices or disks changed")

    def test_three_commands_at_once_get_the_same_plan(self) -> None:
        before = self.observed()
        xml = {plan.rescue.to_xml() for plan in self.results(times=3)}
        self.assertEqual(1, len(xml))
        self.assertEqual(before, self.observed())

    def test_restart_answers_a_request_that_was_taken(self) -> None:
        with requests.Question.ask(self.server["id"], requests.PLAN, {}) as question:
            requests.take(question.request)
            self.restart_compute_service("compute1")
            self.assertEqual(requests.RESTARTED, question.state())

    def test_request_that_cannot_be_understood_fails(self) -> None:
        url = "http://192.0.2.1/v2/images/1"
        for details in ({}, {"image": url, "properties": {}, "secrets": False}):
            with mock.patch.object(requests, "details_of", return_value=details):
                self.assert_not_planned(UNAVAILABLE, "its log has the reason")

    def test_answer_that_does_not_fit_on_the_disk_fails(self) -> None:
        write = requests._write

        def fail(descriptor: int, details: dict[str, Any]) -> None:
            if "rescue" in details:
                raise OSError(28, "No space left on device")
            write(descriptor, details)

        with mock.patch.object(requests, "_write", fail):
            self.assert_not_planned(UNAVAILABLE, "its log has the reason")

    def test_secrets_are_in_the_plan_only_if_asked_for(self) -> None:
        plan_rescue = self.driver.plan_rescue

        def add_password(domain: Domain) -> Domain:
            text = domain.to_xml().replace("type='vnc'", 'type="vnc"')
            return Domain.parse(text.replace('"vnc"', '"vnc" passwd="sesame"'))

        def with_password(*arguments: Any) -> Planned:
            planned = plan_rescue(*arguments)
            original, rescue = map(
                add_password, (planned.plan.original, planned.plan.rescue)
            )
            plan = dataclasses.replace(planned.plan, original=original, rescue=rescue)
            return dataclasses.replace(planned, plan=plan)

        with mock.patch.object(self.driver, "plan_rescue", with_password):
            for secrets in (False, True):
                plan = self.plan(secrets=secrets)
                for domain in (plan.original, plan.rescue):
                    self.assertEqual(secrets, "sesame" in domain.to_xml())

    def test_nova_compute_without_credentials_makes_no_plan(self) -> None:
        self.flags(auth_type=None, group="service_user")
        self.assert_not_planned(NOT_FOUND, "[service_user]", "has no auth_type")
        self.flags(auth_type="unheard-of", group="service_user")
        self.assert_not_planned(NOT_FOUND, "[service_user]", "unheard-of")

    def test_image_that_glance_hides_makes_no_plan(self) -> None:
        self.assert_not_planned(
            NOT_FOUND, "does not show image", uuids.hidden, image=uuids.hidden
        )

    def test_driver_of_another_project_makes_no_plan(self) -> None:
        with mock.patch.object(self.driver, "plan_rescue", None):
            self.assert_not_planned(NOT_FOUND, "makes no plans")

    def test_server_without_a_definition_is_not_defined(self) -> None:
        self.domain().destroy()
        self.domain().undefine()
        (result,) = self.results()
        self.assertEqual(NOT_FOUND, result[0])
        self.assertIn("libvirt has no definition", result[1])
        self.assertEqual({}, self.libvirt_connection()._vms)
        with mock.patch(
            "stable_rescue.nova_internals.devices_from_outside", return_value=["vGPU"]
        ):
            (result,) = self.results()
        self.assertEqual(REFUSED, result[0])
        self.assertIn("cannot find its vGPU", result[1])

    def test_leftover_of_an_earlier_rescue_stays(self) -> None:
        self.rescue_server()
        record = self.record()
        self.unrescue_server()
        self.store().save(record.at(State.ENDED))
        plan = self.plan()
        self.assertIn("an earlier rescue has left its record", "".join(plan.findings))
        self.assert_rescue_is_as_planned(plan, self.image)
        # An operator has set the server to ACTIVE.
        self.set_nova_state(vm_states.ACTIVE, None)
        self.assert_not_planned(NOT_FOUND, "run stable-rescue recover")

    def test_plan_starts_from_the_original_in_unrescue_xml(self) -> None:
        original = self.next_definition()
        self.rescue_server()
        self.store().remove_record()
        self.set_nova_state(vm_states.ACTIVE, None)
        plan = self.plan()
        self.assertEqual(original, plan.original.to_xml())
        self.assertIn("which a rescue defines first", "".join(plan.findings))
