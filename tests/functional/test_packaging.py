# SPDX-License-Identifier: Apache-2.0

"""The built package is complete, whatever it is built from."""

import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import ClassVar
from unittest import mock
from zipfile import ZipFile

from oslo_config import cfg, generator
from oslotest import base

from lab import guest, packages

PROJECT = Path(__file__).parents[2]
TIMEOUT = 240  # seconds
PYTHON = Path(sys.executable)

with mock.patch.object(sys, "path", [str(PROJECT / "tools"), *sys.path]):
    from releases import build, checks, version_of


def run(*command: str | Path, cwd: Path) -> str:
    """Return the output of a command.

    :raises AssertionError: the command failed; the message has its output
    """
    env = {
        **os.environ,
        # Git trusts the tree.
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "safe.directory",
        "GIT_CONFIG_VALUE_0": "*",
    }
    process = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=env,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    if process.returncode:
        raise AssertionError(f"{command}:\n{process.stdout}{process.stderr}")
    return process.stdout


def build_wheel(source: Path, folder: Path) -> Path:
    """Build a wheel from a tree or an sdist; return its path."""
    folder.mkdir()
    run(
        *(sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation"),
        *(f"--wheel-dir={folder}", source),
        cwd=folder,
    )
    (wheel,) = folder.glob("*.whl")
    return wheel


class TestPackage(base.BaseTestCase):
    """The wheels of a shallow clone, of its sdist, and of an archive."""

    wheels: ClassVar[dict[str, Path]]
    tracked: ClassVar[list[str]]
    folder: ClassVar[Path]
    clone: ClassVar[Path]
    sdist: ClassVar[Path]

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        temporary = tempfile.TemporaryDirectory(prefix="stable-rescue-package-")
        cls.addClassCleanup(temporary.cleanup)
        folder = Path(temporary.name)
        clone = folder / "clone"
        origin = PROJECT.as_uri()
        run("git", "clone", "--quiet", "--depth=1", origin, clone, cwd=folder)
        cls.tracked = run("git", "ls-files", cwd=clone).splitlines()
        archive, unpacked = folder / "archive.tar", folder / "archive"
        run("git", "archive", f"--output={archive}", "HEAD", cwd=clone)
        shutil.unpack_archive(archive, unpacked)
        cls.folder, cls.clone = folder, clone
        cls.sdist, wheel = build.build(clone, folder / "release", PYTHON)
        cls.wheels = {
            "clone": build_wheel(clone, folder / "from-clone"),
            "sdist": wheel,
            "archive": build_wheel(unpacked, folder / "from-archive"),
        }

    def names(self, origin: str) -> set[str]:
        """Return the names of the files in a wheel."""
        with ZipFile(self.wheels[origin]) as wheel:
            return set(wheel.namelist())

    def read(self, origin: str, ending: str) -> str:
        """Return the text of the one file in a wheel whose name has this ending."""
        (name,) = (name for name in self.names(origin) if name.endswith(ending))
        with ZipFile(self.wheels[origin]) as wheel:
            return wheel.read(name).decode()

    def test_every_origin_makes_the_same_wheel(self) -> None:
        for origin in ("sdist", "archive"):
            self.assertEqual(self.wheels["clone"].name, self.wheels[origin].name)
            # pbr writes this file if it is run in a repository.
            differ = self.names("clone") ^ self.names(origin)
            self.assertEqual(["pbr.json"], [Path(name).name for name in differ])

    def test_release_has_the_files_and_the_version_of_the_clone(self) -> None:
        release = (self.sdist, self.wheels["sdist"])
        modules = {name for name in self.tracked if name.startswith("stable_rescue/")}
        self.assertLess(len(modules), checks.check_files(self.clone, *release))
        checks.check_version(version_of(PROJECT), *release)

    def test_second_build_of_a_release_has_the_same_digests(self) -> None:
        clone = build.clone(self.clone, self.folder / "second-clone")
        for first, second in zip(
            (self.sdist, self.wheels["sdist"]),
            build.build(clone, self.folder / "second", PYTHON),
            strict=True,
        ):
            self.assertEqual(first.name, second.name)
            self.assertEqual(first.read_bytes(), second.read_bytes(), first.name)

    def test_version_is_that_of_setup_cfg(self) -> None:
        version = re.search(
            r"(?m)^version = (\d+\.\d+\.\d+)$", (PROJECT / "setup.cfg").read_text()
        )[1]
        for origin in self.wheels:
            self.assertIn(f"\nVersion: {version}\n", self.read(origin, "/METADATA"))

    def test_wheel_has_every_module_and_no_tests(self) -> None:
        modules = {name for name in self.tracked if name.startswith("stable_rescue/")}
        packed = {name for name in self.names("clone") if "-" not in name}
        self.assertEqual(modules, packed)

    def test_wheel_installs_nothing_below_nova(self) -> None:
        top = {name.partition("/")[0].partition("-")[0] for name in self.names("clone")}
        self.assertEqual({"stable_rescue"}, top)

    def test_wheel_has_the_three_entry_points(self) -> None:
        text = self.read("clone", "/entry_points.txt")
        self.assertIn("[os_vif]\nstable_rescue = stable_rescue.activation:", text)
        self.assertIn("[oslo.config.opts]\nstable_rescue = stable_rescue.conf:", text)
        self.assertIn(
            "[tempest.test_plugins]\nstable_rescue = stable_rescue.tempest.plugin:",
            text,
        )

    def test_every_requirement_has_a_lower_bound(self) -> None:
        requirements = [
            line
            for line in self.read("clone", "/METADATA").splitlines()
            if line.startswith("Requires-Dist: ")
        ]
        self.assertIn('Requires-Dist: nova<35,>=31.0.0; extra == "nova"', requirements)
        for line in requirements:
            self.assertIn(">=", line)

    def test_tests_are_no_extra(self) -> None:
        metadata = self.read("clone", "/METADATA")
        extras = re.findall(r"(?m)^Provides-Extra: (.*)$", metadata)
        self.assertEqual(["completion", "nova", "tempest"], sorted(extras))

    def test_wheel_requires_only_lxml_and_oslo_config(self) -> None:
        always = [
            re.split("[<>=]", line.removeprefix("Requires-Dist: "))[0]
            for line in self.read("clone", "/METADATA").splitlines()
            if line.startswith("Requires-Dist: ") and "extra ==" not in line
        ]
        self.assertEqual(["lxml", "oslo.config"], sorted(always))


class TestSampleConfiguration(base.BaseTestCase):
    """`tox -e genconfig` updates the sample configuration in etc/."""

    def test_sample_is_what_the_generator_writes(self) -> None:
        options = cfg.ConfigOpts()
        generator.register_cli_opts(options)
        options(["--config-file", str(PROJECT / "etc" / "config-generator.conf")])
        written = io.StringIO()
        generator.generate(options, written)
        sample = PROJECT / "etc" / "stable_rescue" / "stable-rescue.conf.sample"
        self.assertEqual(sample.read_text(), written.getvalue())


class TestSystemPackages(base.BaseTestCase):
    """bindep.txt lists all packages that the lab and its guest builder install."""

    def test_bindep_lists_all_packages_of_the_lab(self) -> None:
        lines = re.findall(
            r"(?m)^([a-z0-9-]+) \[([a-z ]+)", (PROJECT / "bindep.txt").read_text()
        )
        listed = {name for name, profiles in lines if "lab" in profiles.split()}
        installed = {*packages.APT_PACKAGES, *guest.APT_PACKAGES}
        self.assertEqual(set(), installed - listed)
