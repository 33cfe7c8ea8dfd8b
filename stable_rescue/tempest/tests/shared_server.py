# SPDX-License-Identifier: Apache-2.0
"""One server for all tests of a class, with disks and NICs that were hot-plugged."""

from __future__ import annotations

from typing import Any, ClassVar

from tempest import config
from tempest.api.compute import base
from tempest.common import waiters

from stable_rescue.tempest import readers
from stable_rescue.tempest.guest.inventory import Inventory

CONF = config.CONF


class SharedServerTest(base.BaseV2ComputeTest):
    """Base class of tests that share a server, which is ACTIVE when a test begins.

    The first test of a class creates the server. If a test leaves the server in another
    state, the server is deleted and the next test creates a new one.
    """

    create_default_network = True
    #: Whether the server's root disk is a volume.
    volume_backed = False
    #: Whether to attach volumes and a port, and to detach a volume, after creation.
    with_hotplug = True

    #: None if guests cannot be read.
    reader: ClassVar[readers.Reader | None] = None
    _server: ClassVar[str | None] = None
    #: The volumes that are attached to the server, without its root volume.
    _volumes: ClassVar[list[str]] = []

    @classmethod
    def skip_checks(cls) -> None:
        super().skip_checks()
        if cls.volume_backed and not CONF.service_available.cinder:
            raise cls.skipException("[service_available] cinder is not set")
        if (
            CONF.stable_rescue.read_guest_by == "ssh"
            and not CONF.validation.run_validation
        ):
            raise cls.skipException(
                "[stable_rescue] read_guest_by = ssh needs [validation] run_validation"
            )

    @classmethod
    def resource_setup(cls) -> None:
        super().resource_setup()
        cls._server, cls._volumes = None, []
        timeout = CONF.stable_rescue.boot_timeout
        match CONF.stable_rescue.read_guest_by:
            case "console":
                cls.reader = readers.ConsoleReader(cls.servers_client, timeout)
            case "ssh":
                cls.reader = readers.SshReader(
                    cls.servers_client, timeout, cls._ssh_arguments
                )

    @classmethod
    def _ssh_arguments(cls, server: str) -> dict[str, Any]:
        resources = cls.get_class_validation_resources(cls.os_primary)
        shown = cls.servers_client.show_server(server)["server"]
        return {
            "ip_address": cls.get_server_ip(shown, resources),
            "username": CONF.validation.image_ssh_user,
            "password": CONF.validation.image_ssh_password,
            "pkey": resources["keypair"]["private_key"],
            "server": shown,
        }

    def require_reader(self) -> readers.Reader:
        """Return the reader of guests; skip the test if there is none."""
        if self.reader is None:
            raise self.skipException("[stable_rescue] read_guest_by is none")
        return self.reader

    def active_server(self) -> str:
        """Return the id of the class's server, which is ACTIVE."""
        cls = type(self)
        if cls._server is None:
            cls._server = self._create_server()
        self.addCleanup(self.delete_server_unless_active)
        return cls._server

    def delete_server_unless_active(self) -> None:
        """Delete the server if it is not ACTIVE or a task is in progress.

        The server's volumes are deleted too, to stay within the project's quota.
        """
        cls = type(self)
        if cls._server is None:
            return
        shown = self.servers_client.show_server(cls._server)["server"]
        if shown["status"] == "ACTIVE" and shown["OS-EXT-STS:task_state"] is None:
            return
        server, volumes = cls._server, cls._volumes
        cls._server, cls._volumes = None, []
        self.servers_client.delete_server(server)
        waiters.wait_for_server_termination(
            self.servers_client, server, ignore_error=True
        )
        for volume in volumes:
            self.delete_volume(volume)

    def status(self, server: str) -> str:
        """Return the status of a server."""
        return str(self.servers_client.show_server(server)["server"]["status"])

    def boot_id(self, server: str) -> str:
        """Return the boot id of a guest, or "" if guests cannot be read."""
        return self.reader.read(server).boot_id if self.reader else ""

    def volume_disks(self, guest: Inventory) -> readers.Disks:
        """Return the disks of the server's volumes; fail if the guest lacks one."""
        disks = readers.disks_of(self._volumes, guest)
        self.assertEqual(
            set(self._volumes), set(disks), "the guest does not see all volumes"
        )
        return disks

    def _create_server(self) -> str:
        hotplug = self.with_hotplug and self.reader is not None
        with_volumes = hotplug and CONF.service_available.cinder
        volume_types = CONF.stable_rescue.volume_types if with_volumes else []
        # Resources are removed in reverse order: create volumes before the server, so
        # that they are detached when they are deleted.
        first_volumes = [self._create_volume(name) for name in volume_types]
        later_volumes = [self._create_volume(name) for name in volume_types]
        options: dict[str, Any] = {}
        if CONF.stable_rescue.read_guest_by == "ssh":
            options["validatable"] = True
            options["validation_resources"] = self.get_class_validation_resources(
                self.os_primary
            )
        image = CONF.stable_rescue.server_image or CONF.compute.image_ref
        if self.volume_backed:
            options["block_device_mapping_v2"] = [_root_volume(image)]
            image = ""
        server = self.create_test_server(
            image_id=image,
            flavor=CONF.stable_rescue.flavor or CONF.compute.flavor_ref,
            config_drive=True,
            wait_until="ACTIVE",
            **options,
        )["id"]
        type(self)._volumes = first_volumes[1:] + later_volumes
        if hotplug:
            self._hotplug(server, first_volumes, later_volumes)
        return str(server)

    def _hotplug(
        self, server: str, first_volumes: list[str], later_volumes: list[str]
    ) -> None:
        """Attach volumes, detach one, attach more and plug a port; then reboot.

        A cold boot names devices in the order of their addresses (F31). A soft reboot
        by Nova is a cold boot of the unchanged definition.
        """
        reader = self.require_reader()
        created = reader.read(server)
        for volume in first_volumes:
            self._attach(reader, server, volume)
        if first_volumes:
            self._detach(reader, server, first_volumes[0])
            self.delete_volume(first_volumes[0])
        for volume in later_volumes:
            self._attach(reader, server, volume)
        network = self.get_tenant_network()
        if network and CONF.compute_feature_enabled.interface_attach:
            self._plug(reader, server, network["id"])
        self.reboot_server(server, type="SOFT")
        reader.read(server, previous_boot=created.boot_id)

    def _create_volume(self, volume_type: str) -> str:
        options = {"volume_type": volume_type} if volume_type else {}
        return str(self.create_volume(**options)["id"])

    def _attach(self, reader: readers.Reader, server: str, volume: str) -> None:
        count = len(reader.read(server).disks)
        self.servers_client.attach_volume(server, volumeId=volume)
        waiters.wait_for_volume_resource_status(self.volumes_client, volume, "in-use")
        reader.read(
            server,
            condition=lambda guest: len(guest.disks) > count,
            action=f"see the attached volume {volume}",
        )

    def _detach(self, reader: readers.Reader, server: str, volume: str) -> None:
        count = len(reader.read(server).disks)
        self.servers_client.detach_volume(server, volume)
        waiters.wait_for_volume_resource_status(
            self.volumes_client, volume, "available"
        )
        reader.read(
            server,
            condition=lambda guest: len(guest.disks) < count,
            action=f"release the detached volume {volume}",
        )

    def _plug(self, reader: readers.Reader, server: str, network: str) -> None:
        count = len(reader.read(server).of_kind("nic"))
        interface = self.interfaces_client.create_interface(server, net_id=network)
        port = interface["interfaceAttachment"]["port_id"]
        waiters.wait_for_interface_status(
            self.interfaces_client, server, port, "ACTIVE"
        )
        reader.read(
            server,
            condition=lambda guest: len(guest.of_kind("nic")) > count,
            action=f"see the plugged port {port}",
        )


def _root_volume(image: str) -> dict[str, Any]:
    return {
        "boot_index": "0",
        "source_type": "image",
        "uuid": image,
        "destination_type": "volume",
        "volume_size": CONF.volume.volume_size,
        "delete_on_termination": True,
    }
