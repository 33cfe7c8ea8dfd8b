# SPDX-License-Identifier: Apache-2.0
"""Rescue and unrescue through Nova's API."""

from typing import Any
from unittest import mock

import fixtures
from nova import exception as nova_exception
from nova.tests.fixtures import libvirt

from stable_rescue.domain import recognise
from stable_rescue.domain.document import Domain
from stable_rescue.storage.record import Store
from tests.functional import base
from tests.functional.server import ServerTestBase


class RescueTest(base.RescueTestBase):
    def test_rescue_and_unrescue(self) -> None:
        server = self.create_server()
        own = self.definition(server)
        image = self.create_rescue_image(hw_rescue_bus="usb")
        self.rescue(server, image)
        self._wait_for_state_change(server, "RESCUE")
        rescued = Domain.parse(self.definition(server))
        disk = recognise.rescue_disk(rescued)
        self.assertEqual("usb", disk.find("target").get("bus"))
        self.assertTrue(disk.find("source").get("file").endswith("disk.rescue"))
        self.assertEqual(["stable_rescue.json", "unrescue.xml"], self.files(server))
        for path in self.folder(server).iterdir():
            self.assertEqual(0o600, path.stat().st_mode & 0o777)

        self.api.post_server_action(server["id"], {"unrescue": None})
        self._wait_for_state_change(server, "ACTIVE")
        self.assertEqual(own, self.definition(server))
        self.assertEqual([], self.files(server))

    def results(self, server: dict[str, Any]) -> dict[str, str]:
        """Return the result of each event of the newest action."""
        events = self.events(server)
        self.assertTrue(all(event["finish_time"] for event in events))
        return {event["event"]: event["result"] for event in events}

    def test_users_see_each_phase_as_an_event(self) -> None:
        server = self.create_server()
        self.rescue(server, self.create_rescue_image(hw_rescue_bus="usb"))
        self._wait_for_state_change(server, "RESCUE")
        names = ("plan", "prepare", "power_off", "boot", "instance")
        self.assertEqual(
            {f"compute_rescue_{name}": "Success" for name in names},
            self.results(server),
        )
        self.api.post_server_action(server["id"], {"unrescue": None})
        self._wait_for_state_change(server, "ACTIVE")
        names = ("power_off", "boot", "instance")
        self.assertEqual(
            {f"compute_unrescue_{name}": "Success" for name in names},
            self.results(server),
        )

    def test_without_the_properties_novas_own_rescue(self) -> None:
        server = self.create_server()
        self.rescue(server, self.create_rescue_image())
        self._wait_for_state_change(server, "RESCUE")
        self.assertIsNone(recognise.rescue_disk(Domain.parse(self.definition(server))))
        self.assertEqual(["unrescue.xml"], self.files(server))
        self.api.post_server_action(server["id"], {"unrescue": None})
        self._wait_for_state_change(server, "ACTIVE")

    def test_a_rescue_image_with_its_own_kernel_boots_it(self) -> None:
        server = self.create_server()
        image = self.create_rescue_image(
            hw_rescue_bus="usb", kernel_id="k", os_command_line="root=/dev/sda"
        )
        self.rescue(server, image)
        self._wait_for_state_change(server, "RESCUE")
        # What was given to libvirt: Nova's fixture forgets kernels.
        record = Store(str(self.folder(server))).load()
        found = Domain.parse(record.after).root.find("os")
        self.assertTrue(found.findtext("kernel").endswith("/kernel.rescue"))
        self.assertEqual("root=/dev/sda", found.findtext("cmdline"))

    def test_the_password_that_the_api_tells_is_in_the_config_drive(self) -> None:
        """UPSTREAM U3."""
        server = self.create_server(config_drive=True)
        image = self.create_rescue_image(hw_rescue_bus="usb")
        made = self.useFixture(
            fixtures.MockPatch("stable_rescue.nova_internals.make_config_drive")
        ).mock
        told = self.rescue(server, image)["adminPass"]
        self._wait_for_state_change(server, "RESCUE")
        self.assertEqual(told, made.call_args.args[-1])
        sources = [
            disk.find("source").get("file", "")
            for disk in Domain.parse(self.definition(server)).disks()
        ]
        names = [source.rpartition("/")[2] for source in sources]
        self.assertEqual(["disk", "disk.config.rescue", "disk.rescue"], names)

    def test_default_mode_stable_needs_no_properties(self) -> None:
        self.flags(default_mode="stable", default_bus="usb", group="stable_rescue")
        server = self.create_server()
        self.rescue(server, self.create_rescue_image())
        self._wait_for_state_change(server, "RESCUE")
        disk = recognise.rescue_disk(Domain.parse(self.definition(server)))
        self.assertEqual("usb", disk.find("target").get("bus"))


class RefusalTest(ServerTestBase):
    """UPSTREAM U7, U10: the guest never notices."""

    def test_bus_that_nova_knows_and_we_do_not(self) -> None:
        image = self.create_rescue_image(hw_rescue_bus="xen")
        self.assert_refused("hw_rescue_bus='xen'; allowed are virtio", image=image)

    def test_values_that_nova_refuses_never_leave_the_api(self) -> None:
        """Nova 34's API reads the image first and answers 500 (ValueError)."""
        image = self.create_rescue_image(hw_rescue_bus="thunderbolt")
        self.assert_refused("Unexpected API Error", image=image)

    def test_impossible_pair(self) -> None:
        image = self.create_rescue_image(
            hw_rescue_device="cdrom", hw_rescue_bus="virtio"
        )
        self.assert_refused(
            "a cdrom on bus virtio is not possible", "pc takes", image=image
        )

    def test_image_not_found(self) -> None:
        self.assert_refused(
            "not supported", image="5a0bb1d5-3c58-4bf4-8d3f-0a6f7d4f0a11"
        )

    def test_image_queued(self) -> None:
        image = self.create_rescue_image(status="queued", hw_rescue_bus="usb")
        self.assert_refused("is queued, not active", image=image)

    def test_image_unreadable(self) -> None:
        self.useFixture(
            fixtures.MockPatch(
                "nova.virt.libvirt.LibvirtDriver._try_fetch_image_cache",
                side_effect=nova_exception.ImageUnacceptable(
                    image_id="x", reason="Converted to raw, but format is now vmdk"
                ),
            )
        )
        image = self.create_rescue_image(hw_rescue_bus="usb")
        self.assert_refused("cannot be used", "format is now vmdk", image=image)

    def test_instances_path_not_writable(self) -> None:
        self.useFixture(
            fixtures.MockPatch(
                "stable_rescue.storage.files._write_beside",
                side_effect=OSError(30, "Read-only file system"),
            )
        )
        image = self.create_rescue_image(hw_rescue_bus="usb")
        self.assert_refused("Read-only file system", image=image)

    def test_other_virt_types(self) -> None:
        self.flags(virt_type="lxc", group="libvirt")
        image = self.create_rescue_image(hw_rescue_bus="usb")
        self.assert_refused("not possible with virt_type lxc", image=image)


class AcceptanceTest(ServerTestBase):
    """Libvirt itself has to accept the rescue definition while the guest runs."""

    def refuse_definition(self) -> None:
        define = libvirt.Connection.defineXML

        def refuse(connection: libvirt.Connection, xml: str) -> object:
            if recognise.is_rescue(Domain.parse(xml)):
                raise libvirt.make_libvirtError(
                    libvirt.libvirtError, "no such machine in /etc/libvirt/x.xml"
                )
            return define(connection, xml)

        self.useFixture(
            fixtures.MonkeyPatch(
                "nova.tests.fixtures.libvirt.Connection.defineXML", refuse
            )
        )

    def test_a_definition_that_libvirt_refuses(self) -> None:
        self.refuse_definition()
        image = self.create_rescue_image(hw_rescue_bus="usb")
        self.assert_refused("did not accept the rescue definition", image=image)

    def test_what_is_defined_is_the_servers_own_until_power_off(self) -> None:
        seen: list[str] = []

        def look(*_args: object) -> object:
            seen.append(self.next_definition())
            return mock.DEFAULT  # the driver's own answer

        self.power_offs().side_effect = look
        self.rescue_server()
        self.assertEqual(self.original, seen[0])
