# SPDX-License-Identifier: Apache-2.0
"""Servers of a real libvirt whose guests boot and print what they see."""

import contextlib
import functools
import shutil
import tempfile
import time
import unittest
from collections.abc import Callable
from pathlib import Path

import libvirt

from lab import guest
from lab.sandbox import REPOSITORY
from stable_rescue import plan
from stable_rescue.domain import booted, recognize
from stable_rescue.domain.document import Domain, target_of
from stable_rescue.domain.medium import Medium
from stable_rescue.tempest.guest import compare, inventory
from stable_rescue.tempest.guest.inventory import Inventory
from tests.integration.scene import Scene, overlay

URI = "qemu:///system"
# Guests are emulated, and other tests may run at the same time.
BOOT_SECONDS = 600.0
HOTPLUG_SECONDS = 300.0
POLL_SECONDS = 0.1
_XHCI = "0c0330"  # PCI class: serial bus, USB, xHCI

_INACTIVE = libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE


@functools.cache
def images() -> guest.GuestImages:
    """Return the guest images; build them if this machine does not have them yet."""
    cache = REPOSITORY / ".lab" / "cache"
    return guest.build(cache / "guest", cache)


@functools.cache
def connection() -> libvirt.virConnect:
    """Return the connection to the sandbox's libvirtd."""
    # The exceptions carry libvirt's messages; do not print them as well.
    libvirt.registerErrorHandler(lambda *_: None, None)
    return libvirt.open(URI)


class Server:
    """A libvirt domain, and the console of its guest."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.domain = self.define(scene.xml())

    def define(self, xml: str) -> libvirt.virDomain:
        """Define the domain, validated against libvirt's schema, as the driver does."""
        self.domain = define(xml)
        return self.domain

    def definition(self) -> str:
        """Return the inactive definition, with its secrets."""
        return definition(self.domain)

    def start(self, paused: bool = False) -> None:
        """Start the domain with an empty console."""
        self.scene.console.unlink(missing_ok=True)
        self.domain.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED if paused else 0)

    def stop(self) -> None:
        """Destroy the domain if it is running."""
        if self.domain.isActive():
            self.domain.destroy()

    def remove(self) -> None:
        """Destroy and undefine the domain."""
        with contextlib.suppress(libvirt.libvirtError):
            self.stop()
        self.domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_NVRAM)

    def attach(self, xml: str) -> None:
        """Attach a device to the definition and, if it runs, to the guest."""
        self.domain.attachDeviceFlags(xml, self._affected())

    def detach(self, xml: str) -> None:
        """Detach a device from the definition; a running guest is asked to release it.

        libvirt does not wait for the guest's answer.
        """
        self.domain.detachDeviceFlags(xml, self._affected())

    def _affected(self) -> int:
        live = libvirt.VIR_DOMAIN_AFFECT_LIVE if self.domain.isActive() else 0
        return int(libvirt.VIR_DOMAIN_AFFECT_CONFIG | live)

    def wait_for_inventory(
        self,
        condition: Callable[[Inventory], bool] = lambda _: True,
        seconds: float = BOOT_SECONDS,
    ) -> Inventory:
        """Return the guest's latest inventory once it meets the condition.

        :raises AssertionError: no inventory met the condition in time
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            latest = inventory.last(self.console_text())
            if latest is not None and condition(latest):
                return latest
            time.sleep(POLL_SECONDS)
        raise AssertionError(
            f"the guest printed no such inventory within {seconds:.0f} s; "
            f"its console ends with:\n{self.console_text()[-3000:]}"
        )

    def wait_for_text(self, text: str) -> None:
        """Wait until the guest, or its firmware, has printed a text.

        :raises AssertionError: the text was not printed in time
        """
        deadline = time.monotonic() + BOOT_SECONDS
        while text not in self.console_text():
            if time.monotonic() > deadline:
                raise AssertionError(
                    f"no {text!r} was printed within {BOOT_SECONDS:.0f} s; the console "
                    f"ends with:\n{self.console_text()[-3000:]}"
                )
            time.sleep(POLL_SECONDS)

    def console_text(self) -> str:
        """Return all that the guest has printed since its start."""
        try:
            return self.scene.console.read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def booted_disk(self) -> str | None:
        """Return the target of the disk that the driver takes for the booted one."""
        running = Domain.parse(self.domain.XMLDesc())
        targets = booted.targets(running)
        if not targets:  # the original definition
            targets = [target_of(disk)[0] for disk in running.disks()]
        reads = {target: self.domain.blockStats(target)[1] for target in targets}
        return booted.booted_disk(running, reads)

    def wait_for_read(self, target: str) -> None:
        """Wait until the firmware has read something of a disk.

        :raises AssertionError: it has read nothing in time
        """
        deadline = time.monotonic() + BOOT_SECONDS
        while not self.domain.blockStats(target)[0]:
            if time.monotonic() > deadline:
                raise AssertionError(f"{target} was not read within {BOOT_SECONDS} s")
            time.sleep(POLL_SECONDS)

    def rescue_target(self) -> str:
        """Return the target of the rescue disk in the definition."""
        return target_of(recognize.rescue_disk(Domain.parse(self.definition())))[0]

    def boot(self) -> Inventory:
        """Boot the guest cold and return its inventory."""
        self.stop()
        self.start()
        return self.wait_for_inventory()

    def unplug_volume(self) -> None:
        """Detach a volume between others, which leaves a hole."""
        self.detach(self.scene.volume_xml(1, "vdd"))

    def plug_devices(self) -> None:
        """Attach two volumes and a NIC; the first volume takes the hole's name."""
        for number, target in ((4, "vdd"), (5, "vdf")):
            self.attach(self.scene.volume_xml(number, target))
        self.attach(self.scene.nic_xml(2))

    def hotplug(self) -> None:
        """Boot the guest, then unplug and plug devices while it is running."""
        self.boot()
        self.unplug_volume()
        self.wait_for_inventory(
            lambda latest: not has_disk(latest, "volume-1"), HOTPLUG_SECONDS
        )
        self.plug_devices()
        self.wait_for_inventory(
            lambda latest: (
                has_disk(latest, "volume-4")
                and has_disk(latest, "volume-5")
                and len(latest.of_kind("nic")) == 2
            ),
            HOTPLUG_SECONDS,
        )


def define(xml: str) -> libvirt.virDomain:
    """Define a domain, validated against libvirt's schema.

    :raises libvirt.libvirtError: libvirt rejects the definition
    """
    return connection().defineXMLFlags(xml, libvirt.VIR_DOMAIN_DEFINE_VALIDATE)


def definition(domain: libvirt.virDomain) -> str:
    """Return a domain's inactive definition, with its secrets."""
    return str(domain.XMLDesc(_INACTIVE))


def derive(
    original_xml: str, device: str, bus: str, medium: Medium, quarantine: bool = False
) -> plan.RescuePlan:
    """Return the plan of a rescue.

    :raises Refused: the server cannot be rescued with this device on this bus
    """
    request = plan.RescueRequest(device, bus, quarantine=quarantine)
    media = plan.RescueMedia(medium)
    return plan.derive(Domain.parse(original_xml), request, media)


def rescue_medium(cleanup: Callable[..., object], device: str) -> Medium:
    """Return a rescue medium that boots; a disk's file is removed by the cleanup."""
    if device == "cdrom":
        return Medium.from_file(str(images().rescue_iso))
    disk = overlay(images().rescue_qcow2, new_folder(cleanup) / "disk.rescue")
    return Medium.from_file(str(disk), "qcow2")


def has_disk(seen: Inventory, serial: str) -> bool:
    """Return True if the guest sees a disk with this serial number."""
    return any(disk.serial == serial for disk in seen.disks)


def new_folder(cleanup: Callable[..., object], parent: str | None = None) -> Path:
    """Return a new folder that the cleanup removes."""
    folder = Path(tempfile.mkdtemp(prefix="stable-rescue-", dir=parent))
    cleanup(shutil.rmtree, folder, ignore_errors=True)
    return folder


def new_server(
    cleanup: Callable[..., object], machine: str, **options: object
) -> Server:
    """Return a new server, defined but off, that the cleanup removes."""
    scene = Scene(new_folder(cleanup), machine, **options)
    scene.make_disks(images())
    server = Server(scene)
    cleanup(server.remove)
    return server


class TestCase(unittest.TestCase):
    """A test with a connection to libvirt."""

    def setUp(self) -> None:
        super().setUp()
        self.connection = connection()

    def new_server(self, machine: str, **options: object) -> Server:
        """Return a new server that is removed after the test."""
        return new_server(self.addCleanup, machine, **options)

    def assert_rescue_booted(self, seen: Inventory, device: str) -> None:
        """Assert that firmware and kernel report the rescue disk as booted."""
        self.assertEqual("rescue", seen.image)
        self.assertIsNotNone(seen.boot_disk)
        self.assertEqual(f"rescue {images().build}", seen.boot_disk.label)
        self.assertEqual(device == "cdrom", seen.boot_disk.is_cdrom)

    def assert_rescue_disturbs_nothing(
        self, baseline: Inventory, rescued: Inventory, device: str, bus: str
    ) -> None:
        """Assert that the rescue disk was booted and that no other device moved."""
        comparison = compare(baseline, rescued)
        self.assertEqual((), comparison.disturbed, str(comparison))
        self.assertGreaterEqual(len(comparison.originals), 14)
        self.assert_rescue_booted(rescued, device)
        self.assertIn(rescued.boot_disk, comparison.appeared)
        if bus == "usb":
            self._assert_alone_on_usb_controller(rescued)

    def _assert_alone_on_usb_controller(self, rescued: Inventory) -> None:
        """Assert that the rescue disk is alone on an xHCI controller (F14, U33)."""
        controller, _, port = rescued.boot_disk.address.partition("/usb:")
        self.assertEqual("1", port.partition("/")[0])
        (function,) = (d for d in rescued.of_kind("pci") if d.address == controller)
        self.assertEqual(_XHCI, function.pci_class)
        addresses = [device.address for device in rescued.of_kind("usb")]
        self.assertEqual(
            [f"{controller}/usb:1"],
            [address for address in addresses if address.startswith(controller)],
        )
