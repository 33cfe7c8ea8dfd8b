# SPDX-License-Identifier: Apache-2.0
"""With overlays, a rescue system writes to every disk, and no disk changes (F8).

A guest of the lab writes a marker to each disk that it can write, and prints the one
that it found there.
"""

import hashlib
import os
import re
import subprocess
import time
import uuid
from pathlib import Path
from unittest import mock

import libvirt
import libvirt_qemu
from nova.virt import images as nova_images
from oslo_utils import units

from stable_rescue import plan
from stable_rescue.domain import overlays
from stable_rescue.domain.document import Domain, target_of
from stable_rescue.domain.medium import Medium
from stable_rescue.domain.overlays import Overlays
from stable_rescue.storage import overlays as stored
from stable_rescue.tempest.guest import compare
from stable_rescue.tempest.guest.inventory import Inventory
from tests.integration import base
from tests.integration.scene import overlay

# Of virDomainGetBlockInfo: the size as the guest sees it.
_CAPACITY = 0
_PASSPHRASE = b"open sesame"
# What cryptsetup takes for its header.
_HEADER_BYTES = 2 * units.Mi
#: The line of qemu-io that has the result.
_ANSWER = re.compile(r"^(read|wrote|write|Pattern)\b.*\n", re.MULTILINE)


class DiscardTestBase(base.TestCase):
    """A server with disks in files and on a block device."""

    def setUp(self) -> None:
        super().setUp()
        self.server = self.new_server("q35")
        self.folder = self.server.scene.folder
        # Guests must not see what is free of the host's disk.
        (self.folder / "volume-3").write_bytes(os.urandom(16 * units.Mi))
        self.loop = self._loop_device(self.folder / "volume-3")
        xml = self.server.scene.volume_xml(3, "vdf")
        xml = xml.replace("type='file'", "type='block'")
        xml = xml.replace(f"file='{self.folder}/volume-3'", f"dev='{self.loop}'")
        self.server.attach(xml)

    def _loop_device(self, file: Path) -> Path:
        command = ["losetup", "--find", "--show", str(file)]
        found = subprocess.run(command, check=True, capture_output=True, text=True)
        device = found.stdout.strip()
        self.addCleanup(subprocess.run, ["losetup", "--detach", device], check=True)
        return Path(device)

    def digests(self) -> dict[str, str]:
        """Return the sha256 of the file behind each original disk."""
        names = ("disk", "disk.eph0", "disk.swap", "disk.config")
        files = [self.folder / name for name in names]
        files += [self.server.scene.volume(number) for number in (1, 2, 3)]
        files.append(base.images().original_qcow2)
        return {
            str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
        }

    def define_rescue(
        self, medium: Medium, limit: int | None = None
    ) -> plan.RescuePlan:
        """Make the overlays, and define the rescue with them.

        :param limit: the largest size of each overlay in bytes
        """
        original = Domain.parse(self.server.definition())
        where = Overlays(str(self.folder))
        targets = overlays.targets(self.plan(original, medium, where).rescue)
        if limit:
            where = Overlays(where.folder, dict.fromkeys(targets, limit))
        derived = self.plan(original, medium, where)
        for target in targets:
            size = self.server.domain.blockInfo(target)[_CAPACITY]
            length = limit or stored.largest_overlay(size)
            stored._make(Path(where.overlay_of(target).path), size, length)
        self.server.define(derived.rescue.to_xml())
        return derived

    def plan(
        self, original: Domain, medium: Medium, where: Overlays
    ) -> plan.RescuePlan:
        request = plan.RescueRequest("disk", "usb", discard=True)
        media = plan.RescueMedia(medium, overlays=where)
        return plan.derive(original, request, media)

    def writes(self) -> dict[str, tuple[int, int]]:
        """Return how much was written to each disk: above, and to all that is below.

        The keys are target names, the numbers are requests.
        """
        flags = libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_BACKING
        ((_domain, stats),) = self.connection.domainListGetStats(
            [self.server.domain], libvirt.VIR_DOMAIN_STATS_BLOCK, flags
        )
        counted: dict[str, tuple[int, int]] = {}
        for index in range(stats["block.count"]):
            name = stats[f"block.{index}.name"]
            requests = stats.get(f"block.{index}.wr.reqs", 0)
            above, below = counted.get(name, (None, 0))
            counted[name] = (
                (requests, below) if above is None else (above, below + requests)
            )
        return counted

    def open_for_writing(self) -> set[str]:
        """Return the paths that QEMU has open for writing, as the kernel sees it."""
        name = self.server.domain.name()
        pid = Path(f"/run/libvirt/qemu/{name}.pid").read_text().strip()
        paths = set()
        for number in Path(f"/proc/{pid}/fd").iterdir():
            flags = Path(f"/proc/{pid}/fdinfo/{number.name}").read_text()
            mode = int(flags.partition("flags:")[2].split()[0], 8) & os.O_ACCMODE
            if mode != os.O_RDONLY:
                paths.add(str(number.readlink()))
        return paths


class DiscardTest(DiscardTestBase):
    """A guest boots and writes to each disk. Each boot takes a while."""

    def assert_untouched(self, targets: list[str]) -> None:
        """Assert that kernel, libvirt and files agree: no original disk was written."""
        self.assertEqual(self.before, self.digests())
        files = {*self.before, str(self.loop)}
        self.assertEqual(set(), files & self.open_for_writing())
        written = self.writes()
        for target in targets:
            above, below = written[target]
            self.assertGreater(above, 0, target)
            self.assertEqual(0, below, target)

    def test_guest_writes_to_each_disk_and_none_changes(self) -> None:
        original_xml = self.server.definition()
        self.before = self.digests()
        medium = overlay(
            base.images().marking_rescue_qcow2, self.folder / "disk.rescue"
        )
        derived = self.define_rescue(Medium.from_file(str(medium), "qcow2"))
        targets = overlays.targets(derived.rescue)
        self.assertEqual(["vda", "vdb", "vdc", "vdd", "vde", "vdf"], sorted(targets))
        first = self.server.boot()
        self.assert_rescue_booted(first, "disk")
        written = self.markers(first, "marker_written")
        self.assertEqual([], [each for each in written if "rescue" not in each])
        self.assertEqual([""] * 6, self.markers(first, "marker_read"))
        self.assert_untouched(targets)
        # As after a boot of the host: the same files, and a new QEMU.
        second = self.server.boot()
        self.assertEqual(written, self.markers(second, "marker_read"))
        self.assert_untouched(targets)
        self.server.stop()
        self.server.define(original_xml)
        self.assertEqual(self.before, self.digests())
        restored = self.server.boot()
        self.assertEqual("original", restored.image)
        self.assertEqual((), compare(restored, second).disturbed)
        self.assertEqual([""] * 6, self.markers(restored, "marker_read"))

    def markers(self, seen: Inventory, which: str) -> list[str]:
        """Return the markers of the server's six disks, as a guest read or wrote them.

        A marker is the image's name, an id of the boot and the kernel's name.
        """
        boot_disk = seen.boot_disk if seen.image == "rescue" else None
        disks = [d for d in seen.disks if not d.is_cdrom and d != boot_disk]
        return [getattr(disk, which) for disk in sorted(disks, key=lambda d: d.name)]


class QemuIoTestBase(DiscardTestBase):
    """A paused guest will do, because QEMU itself writes on request."""

    def io(self, target: str, command: str) -> str:
        """Let QEMU read or write as its guest would; return what it printed."""
        domain = self.server.domain
        alias = next(
            disk.find("alias").get("name")
            for disk in Domain.parse(domain.XMLDesc()).disks()
            if target_of(disk)[0] == target
        )
        log = Path(f"/var/log/libvirt/qemu/{domain.name()}.log")
        end = len(log.read_text(errors="replace"))
        device = f"/machine/peripheral/{alias}/virtio-backend"
        libvirt_qemu.qemuMonitorCommand(
            domain,
            f'qemu-io -d {device} "{command}"',
            libvirt_qemu.VIR_DOMAIN_QEMU_MONITOR_COMMAND_HMP,
        )
        deadline = time.monotonic() + base.BOOT_SECONDS
        # libvirt may print that the domain is tainted, which is no answer.
        while not (answer := _ANSWER.search(log.read_text(errors="replace"), end)):
            self.assertLess(time.monotonic(), deadline, f"no answer to {command}")
            time.sleep(base.POLL_SECONDS)
        return answer[0]


class LimitTest(QemuIoTestBase):
    LIMIT = 4 * units.Mi

    def test_overlay_that_is_full_takes_no_more_space(self) -> None:
        before = self.digests()
        medium = Medium.from_file(str(self.server.scene.volume(6)))
        self.define_rescue(medium, self.LIMIT)
        self.server.start(paused=True)
        self.assertIn("wrote 1048576/1048576", self.io("vdd", "write -P 90 0 1M"))
        self.assertIn("No space left", self.io("vdd", "write -P 91 16M 8M"))
        self.assertIn("read 1048576/1048576", self.io("vdd", "read -P 90 0 1M"))
        self.assertIn("read 1048576/1048576", self.io("vdd", "read -P 0 40M 1M"))
        status = (self.folder / "overlay.vdd.rescue").stat()
        self.assertEqual(self.LIMIT, status.st_size)
        self.assertLessEqual(status.st_blocks * 512, self.LIMIT)
        self.assertGreater(status.st_blocks * 512, units.Mi)
        self.server.stop()
        self.server.start(paused=True)
        self.assertIn("read 1048576/1048576", self.io("vdd", "read -P 90 0 1M"))
        self.assertEqual(before, self.digests())


class EncryptedTest(QemuIoTestBase):
    """A volume that QEMU decrypts, below an overlay that is not encrypted."""

    SIZE = 32 * units.Mi

    def setUp(self) -> None:
        super().setUp()
        path, key = self.server.scene.volume(4), self.folder / "key"
        path.unlink()
        key.write_bytes(_PASSPHRASE)
        with path.open("wb") as stream:
            stream.truncate(self.SIZE + _HEADER_BYTES)
        # qemu-img takes seconds, and fails where it cannot measure its CPU time.
        create = ["cryptsetup", "luksFormat", "--batch-mode", "--type", "luks1"]
        create += ["--pbkdf-force-iterations", "1000", "--key-file", str(key)]
        subprocess.run([*create, str(path)], check=True)
        encryption = (
            "<encryption format='luks'>"
            f"<secret type='passphrase' uuid='{self._secret()}'/></encryption></disk>"
        )
        volume = self.server.scene.volume_xml(4, "vdg")
        self.server.attach(volume.replace("</disk>", encryption))

    def _secret(self) -> str:
        """Give the passphrase to libvirt; return the UUID of the secret."""
        secret = self.connection.secretDefineXML(
            "<secret ephemeral='yes' private='yes'><usage type='volume'>"
            f"<volume>{uuid.uuid4()}</volume></usage></secret>"
        )
        secret.setValue(_PASSPHRASE)
        self.addCleanup(secret.undefine)
        return str(secret.UUIDString())

    def test_plain_text_is_read_back_and_the_volume_stays(self) -> None:
        volume = self.server.scene.volume(4)
        before = volume.read_bytes()
        self.define_rescue(Medium.from_file(str(self.server.scene.volume(6))))
        self.server.start(paused=True)
        self.assertIn("wrote 65536/65536", self.io("vdg", "write -P 90 1M 64k"))
        self.assertIn("read 65536/65536", self.io("vdg", "read -P 90 1M 64k"))
        # The guest has not written here, so QEMU decrypts the volume.
        self.assertIn("read 65536/65536", self.io("vdg", "read 8M 64k"))
        self.assertEqual(before, volume.read_bytes())

    def test_size_does_not_depend_on_who_is_asked(self) -> None:
        """libvirt knows the disks of a running guest, qemu-img all others."""
        original = Domain.parse(self.server.definition())
        disks = {target_of(disk)[0]: disk for disk in original.disks()}
        targets = ("vda", "vdb", "vdd", "vdf", "vdg")
        with mock.patch.object(
            nova_images, "privileged_qemu_img_info", nova_images.qemu_img_info
        ):
            stopped = [stored._size_of(disks[target], target) for target in targets]
        self.server.start(paused=True)
        running = [self.server.domain.blockInfo(each)[_CAPACITY] for each in targets]
        self.assertEqual(stopped, running)
        self.assertEqual(self.SIZE, running[-1])
