# SPDX-License-Identifier: Apache-2.0
"""A snapshot moves a rescued server's volume to a new file (U36).

Nova takes such a snapshot for Cinder if the volume is a file, on NFS for example. A
paused guest will do: libvirt and QEMU are what is tested.
"""

import subprocess
import time
from pathlib import Path
from typing import Any
from unittest import mock

import libvirt
from lxml import etree
from nova.virt.libvirt.guest import Guest

from stable_rescue import nova_internals
from stable_rescue.domain import sources
from stable_rescue.domain.document import Domain
from stable_rescue.domain.medium import Medium
from stable_rescue.virt import guest
from tests.integration import base

SERIAL = "volume-1"
# As in Nova's _volume_snapshot_create.
FLAGS = (
    libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY
    | libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_NO_METADATA
    | libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_REUSE_EXT
)
COMMIT_SECONDS = 300


def volume(xml: str) -> etree._Element:
    """Return the <disk> of the volume."""
    disks = Domain.parse(xml).disks()
    return next(disk for disk in disks if sources.serial_of(disk) == SERIAL)


def file_and_format(xml: str) -> tuple[str | None, str | None]:
    """Return the file that the volume is read from, and its format."""
    disk = volume(xml)
    return sources.path_of(disk), disk.find("driver").get("type")


class SnapshotTest(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.server = self.new_server("q35")
        self.original = Domain.parse(self.server.definition())
        self.base = self.server.scene.volume(1)
        self.new = Path(f"{self.base}.snapshot")
        medium = Medium.from_file(str(self.server.scene.volume(6)))
        rescue = base.derive(self.original.to_xml(), "disk", "virtio", medium).rescue
        self.server.define(rescue.to_xml())
        self.server.start(paused=True)

    def snapshot(self) -> None:
        """Move the running guest to a new file, as Nova does for Cinder."""
        new = ["-f", "qcow2", "-F", "raw", "-b", self.base, self.new]
        subprocess.run(["qemu-img", "create", "-q", *new], check=True)
        disks = "".join(
            f"<disk name='{disk.find('target').get('dev')}' snapshot='no'/>"
            for disk in Domain.parse(self.server.definition()).disks()
            if sources.serial_of(disk) != SERIAL
        )
        self.server.domain.snapshotCreateXML(
            f"<domainsnapshot><disks><disk name='{self.base}' snapshot='external' "
            f"type='file'><source file='{self.new}'/></disk>{disks}</disks>"
            "</domainsnapshot>",
            FLAGS,
        )

    def commit(self) -> None:
        """Delete the snapshot: the running guest goes back to the old file."""
        domain, target = self.server.domain, "vdd"
        flags = libvirt.VIR_DOMAIN_BLOCK_COMMIT_ACTIVE
        domain.blockCommit(target, None, None, 0, flags)
        deadline = time.monotonic() + COMMIT_SECONDS
        while time.monotonic() < deadline:
            job: Any = domain.blockJobInfo(target, 0)
            if job and job["end"] and job["cur"] == job["end"]:
                break
            time.sleep(0.1)
        domain.blockJobAbort(target, libvirt.VIR_DOMAIN_BLOCK_JOB_ABORT_PIVOT)

    def carried(self) -> Domain:
        """Return the original definition with the disks of the guest."""
        with mock.patch.object(
            nova_internals, "guest_of", return_value=Guest(self.server.domain)
        ):
            current = guest.current(mock.Mock(), mock.Mock())
        return sources.carried(self.original, current)[0]

    def unrescue(self, original: Domain) -> str:
        """Start the original definition; return what runs then."""
        self.server.stop()
        self.server.define(original.to_xml())
        self.server.start(paused=True)
        return str(self.server.domain.XMLDesc())

    def test_volume_stays_if_there_was_no_snapshot(self) -> None:
        self.assertIs(self.original, self.carried())

    def test_unrescue_starts_the_new_file(self) -> None:
        self.snapshot()
        running = self.unrescue(self.carried())
        self.assertEqual((str(self.new), "qcow2"), file_and_format(running))
        chain = volume(running).find("backingStore")
        self.assertEqual(str(self.base), chain.find("source").get("file"))
        self.assertEqual("raw", chain.find("format").get("type"))

    def test_new_file_is_known_after_the_rescue_is_off(self) -> None:
        """The host may be rebooted before unrescue."""
        self.snapshot()
        self.server.stop()
        running = self.unrescue(self.carried())
        self.assertEqual((str(self.new), "qcow2"), file_and_format(running))

    def test_nothing_else_of_the_original_changes(self) -> None:
        self.snapshot()
        carried = self.carried().copy()
        disk = next(d for d in carried.disks() if sources.serial_of(d) == SERIAL)
        disk.find("source").set("file", str(self.base))
        disk.find("driver").set("type", "raw")
        self.assertEqual(
            etree.tostring(self.original.root, method="c14n"),
            etree.tostring(carried.root, method="c14n"),
        )

    def test_deleted_snapshot_leads_back_to_the_old_file(self) -> None:
        self.snapshot()
        self.commit()
        running = self.unrescue(self.carried())
        self.assertEqual((str(self.base), "raw"), file_and_format(running))
