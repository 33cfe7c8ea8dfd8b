# SPDX-License-Identifier: Apache-2.0
"""nova-compute and QEMU as users of their own, as distributions run them."""

import dataclasses
import json
import os
import pwd
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

from nova import conf as nova_conf

from lab.sandbox import REPOSITORY
from stable_rescue.domain.document import Domain
from stable_rescue.storage import medium, nvram
from tests.integration import base, unprivileged

CONF = nova_conf.CONF


class NvramTest(base.TestCase):
    """/var/lib/libvirt/qemu/nvram cannot be entered by the user of nova-compute."""

    def setUp(self) -> None:
        super().setUp()
        folder = base.new_folder(self.addCleanup)
        folder.chmod(0o711)
        closed = folder / "libvirt"
        closed.mkdir(mode=0o700)
        self.variables = closed / "server_VARS.fd"
        server = self.new_server("q35", firmware="uefi")
        definition = Domain.parse(server.definition()).copy()
        definition.root.find("os/nvram").text = str(self.variables)
        self.original = definition
        self.instance = SimpleNamespace(uuid=server.scene.uuid)

    def copy(self) -> dict[str, Any]:
        """Return the copy that an unprivileged nova-compute would make."""
        return unprivileged.result_of(
            lambda: (
                dataclasses.asdict(nvram.copy_for(self.instance, self.original))
                | {"user": os.geteuid()}
            )
        )

    def test_copy_is_made_from_variables_that_nova_may_not_see(self) -> None:
        self.variables.write_bytes(b"variables")
        copy = self.copy()
        self.assertEqual(unprivileged.NOBODY, copy["user"])
        self.assertTrue(copy["from_original"])

    def test_copy_of_missing_variables_is_made_from_the_template(self) -> None:
        """libvirt would not start a rescue whose template does not exist."""
        self.assertFalse(self.copy()["from_original"])


class OwnerTest(base.TestCase):
    """libvirt gives files to QEMU's user, and nova-compute still removes them."""

    def setUp(self) -> None:
        super().setUp()
        folder = base.new_folder(self.addCleanup)
        folder.chmod(0o711)
        program = subprocess.run(
            [sys.executable, "-m", "tests.integration.owned", str(folder)],
            capture_output=True,
            text=True,
            check=False,
            cwd=REPOSITORY,
        )
        self.assertEqual(0, program.returncode, program.stderr)
        self.seen = json.loads(program.stdout.splitlines()[-1])

    def test_qemu_can_use_and_nova_can_remove_each_file(self) -> None:
        qemu = pwd.getpwnam("libvirt-qemu").pw_uid
        for rescue in self.seen.values():
            for name in (*medium.NAMES, nvram.NAME):
                self.assertEqual(qemu, rescue["running"][name], name)
            self.assertEqual([], [name for name in rescue["left"] if "rescue" in name])
        overlays = [
            name for name in self.seen["discard"]["running"] if "overlay" in name
        ]
        self.assertEqual(5, len(overlays))
