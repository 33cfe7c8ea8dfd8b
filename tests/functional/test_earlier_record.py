# SPDX-License-Identifier: Apache-2.0
"""The record belongs to an earlier rescue than the one that the server is in.

The host was switched to Nova's driver during a stable rescue. That driver unrescued the
server and rescued it again. Then the host was switched back.
"""

import dataclasses
import datetime
import re

from stable_rescue.domain import recognize
from stable_rescue.domain.document import Domain
from stable_rescue.storage.record import State
from tests.functional.failures import FailureTestBase
from tests.functional.server import ServerTestBase


class EarlierRecordTest(FailureTestBase):
    def setUp(self) -> None:
        super().setUp()
        self._stop_server(self.server)
        self.rescue_server()
        rescued_at = datetime.datetime(2020, 1, 1)
        record = dataclasses.replace(self.record(), rescued_at=rescued_at)
        self.unrescue_server("SHUTOFF")
        self.api.post_server_action(self.server["id"], {"os-start": None})
        self._wait_for_state_change(self.server, "ACTIVE")
        self.api.attach_interface(
            self.server["id"],
            {"interfaceAttachment": {"port_id": self.neutron.port_1["id"]}},
        )
        self.note_original()
        self.rescue_server(self.create_rescue_image())
        self.stock_rescue = self.next_definition()
        self.store().save(record)

    def reboot_host(self) -> None:
        self.domain().destroy()
        self.restart_compute_service("compute1")

    def check_unrescue(self) -> None:
        """Assert that unrescue restores what the stock rescue began with."""
        self.unrescue_server()
        self.assert_restored()

    def test_server_is_unrescued_as_its_last_rescue_began(self) -> None:
        self.flags(rescue_timeout=3600)
        self.manager._poll_rescued_instances(self.context)
        self.assert_status("RESCUE")
        self.check_unrescue()

    def test_host_reboot_starts_the_last_rescue(self) -> None:
        self.reboot_host()
        self.assert_status("RESCUE")
        self.assertTrue(self.domain().isActive())
        self.assertEqual(self.stock_rescue, self.live_definition())
        self.assertIsNone(self.record())
        self.check_unrescue()

    def test_host_reboot_after_nova_has_rebuilt_the_definition(self) -> None:
        """Nova's driver builds the original definition when a host boots (U14)."""
        self.domain().destroy()
        self.libvirt_connection().defineXML(self.original)
        self.reboot_host()
        self.assert_status("RESCUE")
        self.assertIsNone(self.rescue_disk())
        self.assertIsNone(self.record())
        self.check_unrescue()

    def test_original_of_a_failed_rescue_is_found_in_its_record(self) -> None:
        """Nova's driver has saved the rescue definition as the original (U8)."""
        record = dataclasses.replace(
            self.record().at(State.BEGINNING), original_xml=self.original
        )
        self.store().save(record)
        rescue = Domain.parse(record.rescue_xml)
        self.assertTrue(recognize.is_rescue(rescue))
        (self.folder(self.server) / "unrescue.xml").write_text(rescue.to_xml())
        self.check_unrescue()


class EarlierOriginalTest(ServerTestBase):
    """unrescue.xml belongs to an earlier rescue, which Nova's driver has not ended.

    An operator has set the server to ERROR, and it was hard rebooted. Later, a request
    for another rescue is lost.
    """

    def setUp(self) -> None:
        super().setUp()
        earlier = re.sub(r"(<memory[^>]*>)\d+", r"\g<1>1024", self.original)
        self.assertNotEqual(self.original, earlier)
        (self.folder(self.server) / "unrescue.xml").write_text(earlier)
        self.set_nova_state("active", "rescuing")

    def test_guest_that_runs_is_left_alone(self) -> None:
        power_off = self.power_offs()
        self.recover_stalled()
        power_off.assert_not_called()
        self.assert_restored()

    def test_guest_that_is_off_starts_as_libvirt_has_defined_it(self) -> None:
        self.libvirt_connection()._event_callbacks.clear()
        self.domain().destroy()
        self.recover_stalled()
        self.assert_restored()

    def test_stopped_server_stays_stopped(self) -> None:
        self.set_nova_state("active", None)
        self._stop_server(self.server)
        self.set_nova_state("stopped", "rescuing")
        self.recover_stalled()
        self.assert_restored(running=False)


class StoppedByNovaTest(ServerTestBase):
    def test_start_ends_a_rescue_that_was_stopped_in_error(self) -> None:
        """Nova's driver has rescued the server, and left the rescue when it stopped."""
        self.rescue_server(self.create_rescue_image())
        self.store().remove_record()
        self.set_nova_state("error", None)
        self._stop_server(self.server)
        self.api.post_server_action(self.server["id"], {"os-start": None})
        self.assert_status("ACTIVE")
        self.assertEqual([], self.files(self.server))
        definition = Domain.parse(self.live_definition())
        self.assertFalse(recognize.is_rescue(definition))
