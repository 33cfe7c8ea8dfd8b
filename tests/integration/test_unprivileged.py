# SPDX-License-Identifier: Apache-2.0
"""What nova-compute does as a user who may not look into libvirt's folders."""

import dataclasses
import os
from types import SimpleNamespace
from typing import Any

from nova import conf as nova_conf

from stable_rescue.domain.document import Domain
from stable_rescue.storage import nvram
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
