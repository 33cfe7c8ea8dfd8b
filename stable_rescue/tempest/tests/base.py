# SPDX-License-Identifier: Apache-2.0
"""What the tests have in common: one server a class, with all kinds of devices."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any, ClassVar

from tempest import config
from tempest.api.compute import base
from tempest.common import waiters
from tempest.lib import exceptions
from tempest.lib.common import rest_client
from tempest.lib.common.utils import data_utils, test_utils

from stable_rescue.tempest import images, readers
from stable_rescue.tempest.guest import Comparison, compare
from stable_rescue.tempest.guest.comparison import Change
from stable_rescue.tempest.guest.inventory import Device, Inventory

CONF = config.CONF


class BaseRescueTest(base.BaseV2ComputeTest):
    """A server that is ACTIVE at the beginning of each test.

    It is made by the first test of a class, given a history of devices that came and
    went, and kept for the next ones for as long as it is well.
    """

    # Rescue of servers whose root is a volume.
    min_microversion = "2.87"
    create_default_network = True
    volume_backed = False
    #: Whether the server has volumes, and devices that came and went.
    with_history = True

    # The class's server, None before the first, and the volumes it has come to.
    _server: ClassVar[str | None] = None
    _volumes: ClassVar[list[str]] = []
    #: None where guests cannot be read.
    reader: ClassVar[readers.Reader | None] = None
    #: For images that are downloaded.
    folder: ClassVar[Path]

    @classmethod
    def skip_checks(cls) -> None:
        super().skip_checks()
        if not CONF.compute_feature_enabled.rescue:
            raise cls.skipException("[compute-feature-enabled] rescue is not set")
        if not CONF.compute_feature_enabled.stable_rescue:
            raise cls.skipException("[compute-feature-enabled] stable_rescue not set")
        if not CONF.service_available.glance:
            raise cls.skipException("[service_available] glance is not set")
        if cls.volume_backed and not CONF.service_available.cinder:
            raise cls.skipException("[service_available] cinder is not set")
        if (
            CONF.stable_rescue.read_guest_by == "ssh"
            and not CONF.validation.run_validation
        ):
            raise cls.skipException("ssh needs [validation] run_validation")

    @classmethod
    def resource_setup(cls) -> None:
        super().resource_setup()
        cls._server, cls._volumes = None, []
        folder = tempfile.TemporaryDirectory(prefix="stable-rescue-")
        cls.addClassResourceCleanup(folder.cleanup)
        cls.folder = Path(folder.name)
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

    # -- what a test needs ----------------------------------------------------------

    def need_reader(self) -> readers.Reader:
        """Return what reads guests, or skip the test."""
        if self.reader is None:
            raise self.skipException("[stable_rescue] read_guest_by is none")
        return self.reader

    def need_case(self, device: str, bus: str) -> None:
        """Skip the test where it is not to be tried."""
        if f"{device}/{bus}" not in CONF.stable_rescue.cases:
            raise self.skipException(
                f"[stable_rescue] cases does not have {device}/{bus}"
            )

    def need(self, option: str) -> str:
        """Return the value of an option, or skip the test where it has none."""
        value = CONF.stable_rescue[option]
        if not value:
            raise self.skipException(f"[stable_rescue] {option} is not set")
        return str(value)

    # -- images -----------------------------------------------------------------------

    def rescue_image(self, option: str = "disk_image", **more: Any) -> str:
        """Return an image to rescue with, made from what an option names."""
        source = self.need(option)
        path = images.local_file(self.images_client, source, self.folder)
        image = self.empty_image(self._format_of(option), **more)
        images.upload(self.images_client, image, path)
        return image

    def image_for(self, device: str, bus: str) -> str:
        """Return an image to rescue with by a device on a bus."""
        option = "cdrom_image" if device == "cdrom" else "disk_image"
        return self.rescue_image(option, hw_rescue_device=device, hw_rescue_bus=bus)

    def empty_image(self, disk_format: str, **more: Any) -> str:
        """Return an image without content, which is removed after the test."""
        name = data_utils.rand_name(
            prefix=CONF.resource_name_prefix, name=type(self).__name__
        )
        image = images.create(self.images_client, name, disk_format, **more)
        self.addCleanup(
            test_utils.call_and_ignore_notfound_exc,
            self.images_client.delete_image,
            image,
        )
        return image

    @staticmethod
    def _format_of(option: str) -> str:
        if option == "cdrom_image":
            return "iso"
        return str(CONF.stable_rescue.disk_format)

    # -- servers ----------------------------------------------------------------------

    def server(self) -> str:
        """Return the class's server, which is ACTIVE; the first test makes it."""
        cls = type(self)
        if cls._server is None:
            cls._server = self._new_server()
        self.addCleanup(self.discard_unless_well)
        return cls._server

    def discard_unless_well(self) -> None:
        """Delete the server where a test has left it other than ACTIVE, or at work.

        Its volumes go with it: a tenant may not have many.
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
        """Return a server's status."""
        return str(self.servers_client.show_server(server)["server"]["status"])

    def boot_id(self, server: str) -> str:
        """Return what tells a guest's boot from another; "" where none can be read."""
        return self.reader.read(server).boot_id if self.reader else ""

    def volumes(self, seen: Inventory) -> readers.Disks:
        """Return the disks of the volumes that the server has."""
        disks = readers.disks_of(self._volumes, seen)
        self.assertEqual(set(self._volumes), set(disks), "volumes that are not there")
        return disks

    def _new_server(self) -> str:
        history = self.with_history and self.reader is not None
        volumes = history and CONF.service_available.cinder
        kinds = CONF.stable_rescue.volume_types if volumes else []
        # Volumes first: they are cleaned up last.
        first = [self._volume(kind) for kind in kinds]
        later = [self._volume(kind) for kind in kinds]
        more: dict[str, Any] = {}
        if CONF.stable_rescue.read_guest_by == "ssh":
            more["validatable"] = True
            more["validation_resources"] = self.get_class_validation_resources(
                self.os_primary
            )
        image = CONF.stable_rescue.server_image or CONF.compute.image_ref
        if self.volume_backed:
            more["block_device_mapping_v2"] = [_root_volume(image)]
            image = ""
        server = self.create_test_server(
            image_id=image,
            flavor=CONF.stable_rescue.flavor or CONF.compute.flavor_ref,
            config_drive=True,
            wait_until="ACTIVE",
            **more,
        )["id"]
        type(self)._volumes = first[1:] + later
        if history:
            self._give_history(server, first, later)
        return str(server)

    def _give_history(self, server: str, first: list[str], later: list[str]) -> None:
        """Attach volumes, detach one, attach more, plug a port; then boot cold.

        A soft reboot by Nova starts the definition as it is; only then do devices
        have the names that they keep from one boot to the next.
        """
        reader = self.need_reader()
        booted = reader.read(server)
        for volume in first:
            self._attach(reader, server, volume)
        if first:
            self._detach(reader, server, first[0])
            self.delete_volume(first[0])
        for volume in later:
            self._attach(reader, server, volume)
        network = self.get_tenant_network()
        if network and CONF.compute_feature_enabled.interface_attach:
            self._plug(reader, server, network["id"])
        self.reboot_server(server, type="SOFT")
        reader.read(server, not_boot=booted.boot_id)

    def _volume(self, kind: str) -> str:
        more = {"volume_type": kind} if kind else {}
        return str(self.create_volume(**more)["id"])

    def _attach(self, reader: readers.Reader, server: str, volume: str) -> None:
        seen = len(reader.read(server).disks)
        self.servers_client.attach_volume(server, volumeId=volume)
        waiters.wait_for_volume_resource_status(self.volumes_client, volume, "in-use")
        reader.read(server, wanted=lambda g: len(g.disks) > seen, what="a new disk")

    def _detach(self, reader: readers.Reader, server: str, volume: str) -> None:
        seen = len(reader.read(server).disks)
        self.servers_client.detach_volume(server, volume)
        waiters.wait_for_volume_resource_status(
            self.volumes_client, volume, "available"
        )
        reader.read(server, wanted=lambda g: len(g.disks) < seen, what="let it go")

    def _plug(self, reader: readers.Reader, server: str, network: str) -> None:
        seen = len(reader.read(server).of_kind("nic"))
        port = self.interfaces_client.create_interface(server, net_id=network)[
            "interfaceAttachment"
        ]
        waiters.wait_for_interface_status(
            self.interfaces_client, server, port["port_id"], "ACTIVE"
        )
        reader.read(
            server, wanted=lambda g: len(g.of_kind("nic")) > seen, what="a new NIC"
        )

    # -- rescue -----------------------------------------------------------------------

    def rescue(self, server: str, image: str | None, **more: Any) -> str:
        """Rescue a server; return the adminPass of the answer.

        :raises tempest.exceptions.BuildErrorException: where the server ends in ERROR
        :raises AssertionError: where it is as it was
        """
        if image:
            more["rescue_image_ref"] = image
        # It stays in rescue where a test fails there: the next test makes another.
        answer = self.servers_client.rescue_server(server, **more)
        status = self.settled(server, answer)
        self.assertEqual("RESCUE", status, "the rescue was refused or undone")
        return str(answer["adminPass"])

    def unrescue(self, server: str, status: str = "ACTIVE") -> None:
        """End a server's rescue, after which it is to have a status."""
        answer = self.servers_client.unrescue_server(server)
        self.assertEqual(status, self.settled(server, answer))

    def settled(self, server: str, answer: rest_client.ResponseBody) -> str:
        """Return the server's status once nothing is under way.

        :param answer: to the request that was made of it
        :raises tempest.lib.exceptions.TimeoutException: where it takes too long
        """
        deadline = time.monotonic() + CONF.compute.build_timeout
        while True:
            shown = self.servers_client.show_server(server)["server"]
            if shown.get("OS-EXT-STS:task_state") is None:
                return str(shown["status"])
            if time.monotonic() > deadline:
                request = answer.response.get("x-openstack-request-id")
                raise exceptions.TimeoutException(
                    f"server {server} is still {shown['OS-EXT-STS:task_state']};"
                    f" the request was {request}"
                )
            time.sleep(CONF.compute.build_interval)

    # -- expectations -----------------------------------------------------------------

    def check_rescued(self, before: Inventory, rescued: Inventory) -> None:
        """Fail where a device moved, or other than the one new disk was booted."""
        found = compare(before, rescued)
        new = [device for device in found.appeared if device.kind == "disk"]
        self.assertIn(
            rescued.boot_disk, new, f"booted from {rescued.boot_disk}; new are {new}"
        )
        self.assertEqual(1, len(new), f"the rescue brought {new}")
        kept = [c for c in found.changes if not _renumbered(c, new[0])]
        self.check_unmoved("in rescue", Comparison(tuple(kept)))

    def check_same(self, before: Inventory, after: Inventory) -> None:
        """Fail where a server does not have exactly the devices that it had."""
        found = compare(before, after)
        self.check_unmoved("after the rescue", found)
        self.assertEqual((), found.appeared, "left behind by the rescue")
        if before.boot_disk and after.boot_disk:
            self.assertEqual(before.boot_disk.address, after.boot_disk.address)

    def check_unmoved(self, when: str, found: Comparison) -> None:
        """Fail where a device is not where and what it was."""
        if found.disturbed:
            self.fail(f"{when} {found}")


def _renumbered(change: Change, rescue: Device) -> bool:
    """Return whether a CD-ROM drive in its place has but another number.

    The kernel counts drives in the order of their controllers, and a rescue CD-ROM on
    a controller of its own may come before the one that a machine is born with.
    """
    return (
        change.device.is_cdrom
        and rescue.is_cdrom
        and change.renamed
        and not change.moved
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
