# SPDX-License-Identifier: Apache-2.0
"""AppArmor would let QEMU use every file of a rescue, and write to no more than needed.

libvirt's own helper prints the profile of a definition. Nothing is loaded or started,
so the kernel needs no AppArmor.
"""

import re
import subprocess
from pathlib import Path
from typing import Any

from stable_rescue import plan
from stable_rescue.domain.document import Domain
from stable_rescue.domain.edits import Kernel
from stable_rescue.domain.medium import Medium
from stable_rescue.domain.nvram import NvramCopy
from stable_rescue.domain.overlays import Overlays
from stable_rescue.storage import kernel, medium, nvram
from tests.integration import base, hypervisor, qemu_argv
from tests.integration.scene import overlay

HELPER = "/usr/lib/libvirt/virt-aa-helper"
_RULE = re.compile(r'^  (?P<deny>deny )?"(?P<path>/[^"]*)" (?P<rights>[a-z]+),$', re.M)


def rights(definition: str) -> dict[str, set[str]]:
    """Return what the profile of a definition allows for each path, such as r or w."""
    uuid = Domain.parse(definition).root.findtext("uuid")
    profile = subprocess.run(
        hypervisor.command(HELPER, "--dryrun", "--create", "--uuid", f"libvirt-{uuid}"),
        input=definition,
        capture_output=True,
        text=True,
        check=True,
    )
    allowed: dict[str, set[str]] = {}
    for rule in _RULE.finditer(profile.stdout + profile.stderr):
        if not rule["deny"]:
            allowed.setdefault(rule["path"], set()).update(rule["rights"])
    for rule in _RULE.finditer(profile.stdout + profile.stderr):
        if rule["deny"]:
            allowed[rule["path"]] -= set(rule["rights"])
    return allowed


def file_of(nodes: dict[str, dict[str, Any]], name: str) -> str:
    """Return the file that a block node reads."""
    while "filename" not in nodes[name]:
        name = nodes[name]["file"]
    return str(nodes[name]["filename"])


class ProfileTest(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.server = self.new_server("q35", firmware="uefi")
        self.server.scene.nvram.touch()
        self.folder = self.server.scene.folder
        self.original = Domain.parse(self.server.definition())

    def file(self, name: str) -> str:
        """Return the path of a file of the rescue, which exists as at its start."""
        path = self.folder / name
        path.touch()
        return str(path)

    def derive(self, discard: bool) -> str:
        """Return the definition of a rescue that has every kind of file."""
        rescue_disk, config_drive = medium.NAMES
        disk = overlay(base.images().rescue_qcow2, self.folder / rescue_disk)
        media = plan.RescueMedia(
            Medium.from_file(str(disk), "qcow2"),
            NvramCopy(self.file(nvram.NAME)),
            Kernel(*map(self.file, kernel.NAMES), None),
            Medium.from_file(self.file(config_drive)),
            replaces_config_drive=True,
            overlays=Overlays(str(self.folder)),
        )
        request = plan.RescueRequest("disk", "usb", discard=discard)
        rescue = plan.derive(self.original, request, media).rescue.to_xml()
        self.server.define(rescue)
        return self.server.definition()

    def assert_profile_fits(self, definition: str) -> dict[str, set[str]]:
        """Assert that QEMU may open what it opens; return the profile's rights."""
        allowed = rights(definition)
        nodes = qemu_argv.block_nodes(definition)
        files = {node["filename"] for node in nodes.values() if "filename" in node}
        written = {
            file_of(nodes, name)
            for name, node in nodes.items()
            if name.endswith("-format") and not node["read-only"]
        }
        system = Domain.parse(definition).root.find("os")
        loaded = {system.findtext(tag) for tag in ("kernel", "initrd")} - {None}
        for path in files | loaded:
            self.assertIn("r", allowed.get(path, set()), path)
        for path in written:
            self.assertIn("w", allowed[path], path)
        return allowed

    def test_profile_allows_every_file_of_a_rescue(self) -> None:
        allowed = self.assert_profile_fits(self.derive(discard=False))
        for name in (*medium.NAMES, nvram.NAME, *kernel.NAMES):
            self.assertIn(str(self.folder / name), allowed)
        # The image in Nova's cache that the rescue disk is backed by.
        backing = str(base.images().rescue_qcow2)
        self.assertEqual({"r", "k"}, allowed[backing])

    def test_profile_does_not_allow_the_original_uefi_variables(self) -> None:
        """libvirt copies them as root, which the profile of a domain does not bind."""
        allowed = self.assert_profile_fits(self.derive(discard=False))
        self.assertNotIn(str(self.server.scene.nvram), allowed)

    def test_profile_keeps_disks_with_overlays_from_being_written(self) -> None:
        allowed = self.assert_profile_fits(self.derive(discard=True))
        overlays = [path for path in allowed if Path(path).name.startswith("overlay.")]
        self.assertEqual(5, len(overlays))
        for path in overlays:
            self.assertIn("w", allowed[path])
        for disk in ("disk", "disk.eph0", "disk.swap", "volume-1", "volume-2"):
            self.assertEqual({"r", "k"}, allowed[str(self.folder / disk)])
