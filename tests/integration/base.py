# SPDX-License-Identifier: Apache-2.0
"""A test case with libvirt, and servers that boot and tell what they see."""

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
from stable_rescue.tempest.guest import inventory
from stable_rescue.tempest.guest.inventory import Inventory
from tests.integration.scene import Scene

URI = "qemu:///system"
# Guests are emulated, and other tests may run beside: generous, never awaited.
BOOT_SECONDS = 240.0
HOTPLUG_SECONDS = 120.0

_INACTIVE = libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE


@functools.cache
def images() -> guest.GuestImages:
    """Return the guest images, built at the first call on this machine."""
    cache = REPOSITORY / ".lab" / "cache"
    return guest.build(cache / "guest", cache)


@functools.cache
def connection() -> libvirt.virConnect:
    """Return the connection to the sandbox's libvirtd."""
    # What libvirt has to say is in the exceptions; do not print it, too.
    libvirt.registerErrorHandler(lambda *_: None, None)
    return libvirt.open(URI)


class Server:
    """One defined domain and what its guest prints."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.domain = self.define(scene.xml())

    def define(self, xml: str) -> libvirt.virDomain:
        """Define the domain anew, as the driver does: checked by the schema."""
        flags = libvirt.VIR_DOMAIN_DEFINE_VALIDATE
        self.domain = connection().defineXMLFlags(xml, flags)
        return self.domain

    def definition(self) -> str:
        """Return the inactive definition, with its secrets."""
        return definition(self.domain)

    def start(self, paused: bool = False) -> None:
        """Start it, with an empty console."""
        self.scene.console.unlink(missing_ok=True)
        self.domain.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED if paused else 0)

    def stop(self) -> None:
        """Pull the plug, if it runs."""
        if self.domain.isActive():
            self.domain.destroy()

    def remove(self) -> None:
        """End it and forget it."""
        with contextlib.suppress(libvirt.libvirtError):
            self.stop()
        self.domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_NVRAM)

    def attach(self, xml: str) -> None:
        """Plug a device in, for good."""
        self.domain.attachDeviceFlags(xml, self._for_good())

    def detach(self, xml: str) -> None:
        """Take a device away, for good; a guest that runs is asked to let it go."""
        self.domain.detachDeviceFlags(xml, self._for_good())

    def _for_good(self) -> int:
        live = libvirt.VIR_DOMAIN_AFFECT_LIVE if self.domain.isActive() else 0
        return int(libvirt.VIR_DOMAIN_AFFECT_CONFIG | live)

    def read(
        self,
        wanted: Callable[[Inventory], bool] = lambda _: True,
        seconds: float = BOOT_SECONDS,
    ) -> Inventory:
        """Return the guest's latest inventory, once it is as wanted.

        :raises AssertionError: it is not within that time; with the console's end
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            seen = inventory.last(self.said())
            if seen is not None and wanted(seen):
                return seen
            time.sleep(0.25)
        raise AssertionError(
            f"the guest did not print what was wanted within {seconds:.0f} s; "
            f"its console ends with:\n{self.said()[-3000:]}"
        )

    def said(self) -> str:
        """Return all that the guest has printed since its start."""
        try:
            return self.scene.console.read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def boot(self) -> Inventory:
        """Start it cold and return what the guest sees."""
        self.stop()
        self.start()
        return self.read()

    def hotplug_history(self) -> None:
        """Unplug a volume, plug in two others and a NIC, while the guest looks on."""
        scene = self.scene
        self.boot()
        self.detach(scene.volume_xml(1, "vdd"))
        self.read(lambda seen: not has(seen, "volume-1"), HOTPLUG_SECONDS)
        for number, target in ((4, "vdd"), (5, "vdf")):
            self.attach(scene.volume_xml(number, target))
        self.attach(scene.nic_xml(2))
        self.read(
            lambda seen: (
                has(seen, "volume-4")
                and has(seen, "volume-5")
                and len(seen.of_kind("nic")) == 2
            ),
            HOTPLUG_SECONDS,
        )


def definition(domain: libvirt.virDomain) -> str:
    """Return a domain's inactive definition, with its secrets."""
    return str(domain.XMLDesc(_INACTIVE))


def has(seen: Inventory, serial: str) -> bool:
    """Return whether the guest sees a disk of that serial number."""
    return any(disk.serial == serial for disk in seen.disks)


def new_folder(cleanup: Callable[..., None], parent: str | None = None) -> Path:
    """Return a new folder that is removed in the end."""
    folder = Path(tempfile.mkdtemp(prefix="stable-rescue-", dir=parent))
    cleanup(shutil.rmtree, folder, ignore_errors=True)
    return folder


def new_server(cleanup: Callable[..., None], machine: str, **options: object) -> Server:
    """Return a new server, defined but off, that is removed in the end."""
    scene = Scene(new_folder(cleanup), machine, **options)
    scene.make_disks(images())
    server = Server(scene)
    cleanup(server.remove)
    return server


class TestCase(unittest.TestCase):
    """Tests that need libvirt."""

    def setUp(self) -> None:
        super().setUp()
        self.connection = connection()

    def new_server(self, machine: str, **options: object) -> Server:
        """Return a new server that ends with the test."""
        return new_server(self.addCleanup, machine, **options)
