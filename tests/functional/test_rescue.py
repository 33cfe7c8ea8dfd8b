# SPDX-License-Identifier: Apache-2.0
"""Rescue and unrescue through Nova's API, and rescues that are refused."""

import threading
from typing import Any
from unittest import mock

import fixtures
from nova import exception as nova_exception
from nova.db.main import api as database
from nova.tests.fixtures import libvirt
from oslo_utils import timeutils

from stable_rescue.domain import recognize
from stable_rescue.domain.document import Domain
from stable_rescue.virt import phase
from tests.functional import base
from tests.functional.server import ServerTestBase

#: The events of a rescue that stable rescue reports itself.
PHASES = {f"compute_rescue_{name}" for name in ("plan", "prepare", "power_off", "boot")}


class RescueTest(ServerTestBase):
    def test_rescue_and_unrescue_restore_the_definition(self) -> None:
        self.rescue_server()
        disk = self.rescue_disk()
        self.assertEqual("usb", disk.find("target").get("bus"))
        self.assertTrue(disk.find("source").get("file").endswith("disk.rescue"))
        self.assertEqual(
            ["stable_rescue.json", "unrescue.xml"], self.files(self.server)
        )
        for path in self.folder(self.server).iterdir():
            self.assertEqual(0o600, path.stat().st_mode & 0o777)

        self.unrescue_server()
        # Neither today's defaults nor the server's image count (U4, U5).
        self.assertEqual(self.original, self.definition(self.server))
        self.assertEqual([], self.files(self.server))

    def results(self) -> dict[str, str]:
        """Return the result of each event of the server's newest action."""
        events = self.events(self.server)
        self.assertTrue(all(event["finish_time"] for event in events))
        return {event["event"]: event["result"] for event in events}

    def test_each_phase_of_a_rescue_is_an_event_for_users(self) -> None:
        self.rescue_server()
        phases = ("plan", "prepare", "power_off", "boot", "instance")
        self.assertEqual(
            {f"compute_rescue_{phase}": "Success" for phase in phases}, self.results()
        )
        self.unrescue_server()
        phases = ("power_off", "boot", "instance")
        self.assertEqual(
            {f"compute_unrescue_{phase}": "Success" for phase in phases},
            self.results(),
        )

    def test_rescue_does_not_wait_for_a_hung_conductor(self) -> None:
        answers = threading.Event()
        self.addCleanup(answers.set)
        start_event = database.action_event_start

        def hang(context: Any, values: dict[str, Any]) -> Any:
            if values["event"] in PHASES:
                answers.wait(120)
            return start_event(context, values)

        for name, value in (
            (f"{database.__name__}.action_event_start", hang),
            (f"{phase.__name__}._WAIT_SECONDS", 0.1),
        ):
            self.useFixture(fixtures.MonkeyPatch(name, value))
        self.rescue_server()
        self.assertTrue(self.domain().isActive())
        self.assertEqual({"compute_rescue_instance": "Success"}, self.results())
        rescued = timeutils.utcnow().isoformat()
        answers.set()
        phase._writer.submit(lambda: None).result(60)
        self.assertLessEqual(PHASES, self.results().keys())
        # All but the first, whose start hung, have the times at which they happened.
        for event in self.events(self.server):
            if event["event"] in PHASES - {"compute_rescue_plan"}:
                self.assertLess(event["finish_time"], rescued)

    def test_image_without_properties_gets_a_stock_rescue(self) -> None:
        self.rescue_server(self.create_rescue_image())
        self.assertIsNone(self.rescue_disk())
        self.assertEqual(
            ["stable_rescue.json", "unrescue.xml"], self.files(self.server)
        )
        self.unrescue_server()

    def test_kernel_of_the_rescue_image_is_booted(self) -> None:
        image = self.create_rescue_image(
            hw_rescue_bus="usb", kernel_id="k", os_command_line="root=/dev/sda"
        )
        self.rescue_server(image)
        boot = self.recorded_rescue().root.find("os")
        self.assertTrue(boot.findtext("kernel").endswith("/kernel.rescue"))
        self.assertEqual("root=/dev/sda", boot.findtext("cmdline"))

    def test_default_mode_stable_needs_no_properties(self) -> None:
        self.flags(default_mode="stable", default_bus="usb", group="stable_rescue")
        self.rescue_server(self.create_rescue_image())
        self.assertEqual("usb", self.rescue_disk().find("target").get("bus"))


class AdminPasswordTest(base.RescueTestBase):
    def test_admin_password_is_on_the_config_drive(self) -> None:
        """U3."""
        server = self.create_server(config_drive=True)
        image = self.create_rescue_image(hw_rescue_bus="usb")
        make_config_drive = self.useFixture(
            fixtures.MockPatch("stable_rescue.nova_internals.make_config_drive")
        ).mock
        password = self.rescue(server, image)["adminPass"]
        self._wait_for_state_change(server, "RESCUE")
        self.assertEqual(password, make_config_drive.call_args.args[-1])
        sources = [
            disk.find("source").get("file", "")
            for disk in Domain.parse(self.definition(server)).disks()
        ]
        names = [source.rpartition("/")[2] for source in sources]
        self.assertEqual(["disk", "disk.config.rescue", "disk.rescue"], names)


class RefusalTest(ServerTestBase):
    """A refused rescue changes nothing, and the guest keeps running (U7, U10)."""

    def test_impossible_rescue_is_refused(self) -> None:
        self.run_checks()

    def check_unsupported_bus_is_refused(self) -> None:
        image = self.create_rescue_image(hw_rescue_bus="xen")
        self.assert_refused("hw_rescue_bus='xen'; allowed are virtio", image=image)

    def check_bus_unknown_to_nova_is_rejected_by_the_api(self) -> None:
        """Nova's API reads the image first; Nova 34 answers 500 (ValueError)."""
        image = self.create_rescue_image(hw_rescue_bus="thunderbolt")
        self.assert_rejected("Unexpected API Error", image=image)

    def check_impossible_device_and_bus_is_refused(self) -> None:
        image = self.create_rescue_image(
            hw_rescue_device="cdrom", hw_rescue_bus="virtio"
        )
        self.assert_refused(
            "a cdrom on bus virtio is not possible", "pc supports", image=image
        )

    def check_missing_image_is_rejected_by_the_api(self) -> None:
        self.assert_rejected(
            "not supported", image="5a0bb1d5-3c58-4bf4-8d3f-0a6f7d4f0a11"
        )

    def check_queued_image_is_refused(self) -> None:
        image = self.create_rescue_image(status="queued", hw_rescue_bus="usb")
        self.assert_refused("is queued, not active", image=image)

    def check_image_that_nova_cannot_convert_is_refused(self) -> None:
        self.useFixture(
            fixtures.MockPatch(
                "nova.virt.libvirt.LibvirtDriver._try_fetch_image_cache",
                side_effect=nova_exception.ImageUnacceptable(
                    image_id="x", reason="Converted to raw, but format is now vmdk"
                ),
            )
        )
        self.assert_refused("cannot be used", "format is now vmdk")

    def check_read_only_instances_path_is_refused(self) -> None:
        self.useFixture(
            fixtures.MockPatch(
                "stable_rescue.storage.files._write_temporary",
                side_effect=OSError(30, "Read-only file system"),
            )
        )
        self.assert_refused("Read-only file system")

    def test_unsupported_virt_type_is_refused(self) -> None:
        self.flags(virt_type="lxc", group="libvirt")
        self.assert_refused("not possible with virt_type lxc")


class TrialTest(ServerTestBase):
    """libvirt has to accept the rescue definition while the guest runs (F26)."""

    def reject_rescue_definitions(self) -> None:
        define = libvirt.Connection.defineXML

        def reject_rescue(connection: libvirt.Connection, xml: str) -> object:
            if recognize.is_rescue(Domain.parse(xml)):
                raise libvirt.make_libvirtError(
                    libvirt.libvirtError, "no such machine in /etc/libvirt/x.xml"
                )
            return define(connection, xml)

        self.useFixture(
            fixtures.MonkeyPatch(
                "nova.tests.fixtures.libvirt.Connection.defineXML", reject_rescue
            )
        )

    def test_definition_that_libvirt_rejects_is_refused(self) -> None:
        self.reject_rescue_definitions()
        self.assert_refused("did not accept the rescue definition")

    def test_original_stays_defined_until_power_off(self) -> None:
        definitions: list[str] = []

        def note_definition(*_args: object) -> object:
            definitions.append(self.next_definition())
            return mock.DEFAULT  # The mock calls the driver's power_off next.

        self.power_offs().side_effect = note_definition
        self.rescue_server()
        self.assertEqual(self.original, definitions[0])
