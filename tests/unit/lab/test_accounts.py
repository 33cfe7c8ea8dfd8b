# SPDX-License-Identifier: Apache-2.0
"""The users of the lab's services, and what sudo allows them."""

import tempfile
import unittest
from pathlib import Path

from lab import commands
from lab.accounts import ACCOUNTS, closed_folder, sudoers
from lab.config import Lab, Options
from lab.openstack import privsep
from lab.services.cinder import CinderDatabase


class SudoersTest(unittest.TestCase):
    def test_nova_may_run_rootwrap_and_privsep_and_no_more(self) -> None:
        text = sudoers(ACCOUNTS["nova"], Path("/v/bin"), Path("/e"))
        rules = [line for line in text.splitlines() if line.startswith("nova ALL")]
        allowed = [rule.removeprefix("nova ALL = (root) NOPASSWD: ") for rule in rules]
        self.assertEqual(
            ["/v/bin/nova-rootwrap /e/rootwrap.conf *", "/v/bin/privsep-helper *"],
            allowed,
        )

    def test_service_without_helpers_may_run_nothing(self) -> None:
        self.assertEqual("", sudoers(ACCOUNTS["glance"], Path("/v"), Path("/e")))


class AccountTest(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name).resolve()

    def test_services_have_users_of_their_own_unless_as_root(self) -> None:
        lab = Lab(self.folder, Options())
        account = lab.account("nova")
        self.assertEqual(ACCOUNTS["nova"], account)
        self.assertIn(" sudo ", privsep(lab, "nova"))
        lab = Lab(self.folder, Options(as_root=True))
        self.assertIsNone(lab.account("nova"))
        self.assertNotIn("sudo", privsep(lab, "nova"))

    def test_rootwrap_reads_the_filters_of_the_lab(self) -> None:
        lab = Lab(self.folder, Options(as_root=True, backends=()))
        source = lab.venv / "etc" / "cinder"
        (source / "rootwrap.d").mkdir(parents=True)
        (source / "rootwrap.d" / "volume.filters").write_text("[Filters]\n")
        filters = "filters_path=/etc/cinder/rootwrap.d,/usr/share/cinder/rootwrap\n"
        (source / "rootwrap.conf").write_text(filters)
        CinderDatabase(lab).copy_from_venv("rootwrap.conf", "rootwrap.d")
        etc = lab.etc("cinder")
        self.assertIn(f"={etc}/rootwrap.d,", (etc / "rootwrap.conf").read_text())
        self.assertTrue((etc / "rootwrap.d" / "volume.filters").exists())

    def test_folder_that_keeps_others_out_is_found(self) -> None:
        inner = self.folder / "closed" / "inner"
        inner.mkdir(parents=True)
        own = (self.folder, inner.parent, inner)
        for folder in own:
            folder.chmod(0o711)
        # The folder for temporary files may keep others out.
        self.assertNotIn(closed_folder(inner), own)
        inner.parent.chmod(0o700)
        self.assertEqual(inner.parent, closed_folder(inner))

    def test_lab_in_a_folder_that_keeps_others_out_runs_as_root(self) -> None:
        closed = self.folder / "closed"
        closed.mkdir(mode=0o700)
        lab = Lab(closed / "lab")
        lab.state.mkdir()
        said: list[str] = []
        options = commands._as_root_if_needed(lab, Options(), said.append)
        self.assertTrue(options.as_root)
        self.assertIn(f"no other user can enter {closed};", said[0])
