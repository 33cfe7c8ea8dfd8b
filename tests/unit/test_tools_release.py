# SPDX-License-Identifier: Apache-2.0
"""The checks of tools/release, with packages that have a fault."""

import gzip
import io
import subprocess
import sys
import tarfile
from pathlib import Path
from unittest import mock
from zipfile import ZipFile

import fixtures
from oslotest import base

TOOLS = Path(__file__).resolve().parents[2] / "tools"
FILES = {
    ".gitignore": b"*.pyc\n",
    "etc/stable_rescue/sample.conf": b"[stable_rescue]\n",
    "setup.cfg": b"[metadata]\nversion = 1.0.0\n",
    "stable_rescue/__init__.py": b"",
    "stable_rescue/py.typed": b"",
}
SDIST = FILES.keys() - {".gitignore"} | {"PKG-INFO", "stable_rescue.egg-info/x"}
METADATA = "stable_rescue-1.0.0.dist-info/METADATA"
DATA = "stable_rescue-1.0.0.data/data/"
WHEEL = {
    METADATA: b"",
    f"{DATA}etc/stable_rescue/sample.conf": b"[stable_rescue]\n",
    "stable_rescue/__init__.py": b"",
    "stable_rescue/py.typed": b"",
}

with mock.patch.object(sys, "path", [str(TOOLS), *sys.path]):
    from releases import ReleaseError, build, checks, commands, version_of


class ReleaseTestCase(base.BaseTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.folder = Path(self.useFixture(fixtures.TempDir()).path)
        self.tree = self.folder / "tree"
        for name, content in FILES.items():
            path = self.tree / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        for words in (("init", "--quiet"), ("add", "--all")):
            subprocess.run(["git", *words], cwd=self.tree, check=True)

    def sdist(self, names: set[str], time: float = 0) -> Path:
        """Write an sdist with empty files, in the order of the names."""
        path = self.folder / "stable_rescue-1.0.0.tar.gz"
        with tarfile.open(path, "w:gz") as archive:
            for name in names:
                member = tarfile.TarInfo(f"stable_rescue-1.0.0/{name}")
                member.mtime = time
                archive.addfile(member, io.BytesIO())
        return path

    def wheel(self, files: dict[str, bytes]) -> Path:
        path = self.folder / "stable_rescue-1.0.0-py3-none-any.whl"
        with ZipFile(path, "w") as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        return path


class FilesTest(ReleaseTestCase):
    def assert_fails(
        self, reason: str, sdist: set[str], wheel: dict[str, bytes]
    ) -> None:
        error = self.assertRaises(
            ReleaseError,
            checks.check_files,
            self.tree,
            self.sdist(sdist),
            self.wheel(wheel),
        )
        self.assertIn(reason, str(error))

    def test_files_of_git_are_accepted(self) -> None:
        count = checks.check_files(self.tree, self.sdist(SDIST), self.wheel(WHEEL))
        self.assertEqual(3, count)

    def test_stale_file_is_named(self) -> None:
        self.assert_fails(
            "the wheel has files that are not in git: ['stable_rescue/old.py']",
            SDIST,
            WHEEL | {"stable_rescue/old.py": b""},
        )
        self.assert_fails(
            "the sdist has files that are not in git: ['AUTHORS']",
            SDIST | {"AUTHORS"},
            WHEEL,
        )

    def test_missing_file_is_named(self) -> None:
        without = {k: v for k, v in WHEEL.items() if k != "stable_rescue/py.typed"}
        self.assert_fails("the wheel lacks ['stable_rescue/py.typed']", SDIST, without)
        self.assert_fails("the sdist lacks ['setup.cfg']", SDIST - {"setup.cfg"}, WHEEL)

    def test_changed_file_is_named(self) -> None:
        self.assert_fails(
            "other contents of stable_rescue/__init__.py",
            SDIST,
            WHEEL | {"stable_rescue/__init__.py": b"import os\n"},
        )

    def test_package_of_another_version_is_named(self) -> None:
        wheel = self.wheel(WHEEL)
        checks.check_version(version_of(self.tree), wheel)
        error = self.assertRaises(
            ReleaseError, checks.check_version, "1.0.1", self.sdist(SDIST), wheel
        )
        self.assertIn("is not version 1.0.1", str(error))


class DebianTest(base.BaseTestCase):
    def test_changelog_of_the_package_begins_with_the_version(self) -> None:
        changelog = (TOOLS.parent / "packaging/debian/changelog").read_text()
        version = version_of(TOOLS.parent)
        self.assertTrue(changelog.startswith(f"stable-rescue ({version}-"), changelog)


class BuildTest(ReleaseTestCase):
    def test_normalized_sdist_depends_on_its_content_alone(self) -> None:
        contents = []
        for names, time in ((sorted(SDIST), 1.5), (sorted(SDIST, reverse=True), 9.0)):
            path = self.sdist(names, time)
            build.normalize(path, 1234567890)
            contents.append(path.read_bytes())
        self.assertEqual(*contents)
        with tarfile.open(fileobj=io.BytesIO(gzip.decompress(contents[0]))) as archive:
            members = archive.getmembers()
        self.assertEqual(len(SDIST), len(members))
        self.assertEqual({(1234567890, 0)}, {(m.mtime, m.uid) for m in members})

    def test_clone_has_what_is_committed_and_nothing_else(self) -> None:
        who = ("-c", "user.name=n", "-c", "user.email=n@example.org")
        commit = ["git", *who, "commit", "--quiet", "--message=m"]
        subprocess.run(commit, cwd=self.tree, check=True)
        (self.tree / "stable_rescue" / "old.py").touch()
        (self.tree / "setup.cfg").write_text("changed")
        clone = build.clone(self.tree, self.folder / "clone")
        self.assertFalse((clone / "stable_rescue" / "old.py").exists())
        self.assertEqual("1.0.0", version_of(clone))

    def test_failed_command_is_reported_with_its_output(self) -> None:
        code = "import sys; print('why'); sys.exit(3)"
        error = self.assertRaises(
            ReleaseError, commands.run, sys.executable, "-c", code, cwd=self.folder
        )
        self.assertIn("failed:\nwhy", str(error))
