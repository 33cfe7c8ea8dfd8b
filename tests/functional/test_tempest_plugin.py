# SPDX-License-Identifier: Apache-2.0

"""The tempest plugin needs tempest, and neither Nova nor libvirt."""

import importlib.metadata
import json
import os
import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from oslotest import base

from tests.functional.test_packaging import PROJECT, build_wheel

TIMEOUT = 240  # seconds
NAME = re.compile(r"^([A-Za-z0-9._-]+)")
#: What a machine with tempest does not have.
ABSENT = ("nova", "libvirt", "os_brick", "os_vif")
#: Loads the plugin as tempest does; prints its tests, and what is imported by then.
LOAD = """
import importlib.util, json, sys, unittest
from tempest import config
from tempest.test_discover import plugins

manager = plugins.TempestTestPluginManager()
manager.register_plugin_opts(config.CONF)
folder, top = manager.get_plugin_load_tests_tuple()["stable_rescue"]
found = unittest.TestLoader().discover(folder, top_level_dir=top)
print(json.dumps({
    "tests": found.countTestCases(),
    "errors": [str(e) for e in unittest.defaultTestLoader.errors],
    "cases": config.CONF.stable_rescue.cases,
    "there": [n for n in sys.argv[1:] if importlib.util.find_spec(n)],
}))
"""


def requirements(*names: str) -> set[str]:
    """Return the names of distributions and of all that they require."""
    found: set[str] = set()
    left = list(names)
    while left:
        name = re.sub(r"[-_.]+", "-", left.pop()).lower()
        if name in found:
            continue
        try:
            required = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue  # for another platform, or another Python
        found.add(name)
        left += [NAME.findall(line)[0] for line in required if "extra ==" not in line]
    return found


def link(names: set[str], site: Path) -> None:
    """Link what distributions have installed into a site directory."""
    for name in names:
        distribution = importlib.metadata.distribution(name)
        for top in {path.parts[0] for path in distribution.files or ()}:
            source = Path(str(distribution.locate_file(top)))
            target = site / top
            if top not in ("..", "__pycache__") and not target.exists():
                target.symlink_to(source)


class TestWithoutNova(base.BaseTestCase):
    """Installed with all that it says it needs, and nothing else."""

    def run_in(self, *command: str | Path) -> str:
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        done = subprocess.run(
            [str(word) for word in command],
            env=environment | {"HOME": self.folder},
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        self.assertEqual(0, done.returncode, done.stdout + done.stderr)
        return done.stdout

    def test_it_is_found_and_its_tests_load(self) -> None:
        self.folder = self.enterContext(tempfile.TemporaryDirectory())
        environment = Path(self.folder, "venv")
        venv.create(environment, with_pip=False, symlinks=True)
        python = environment / "bin" / "python"
        (site,) = environment.glob("lib/python3*/site-packages")
        needed = requirements("lxml", "oslo.config", "tempest")
        link(needed, site)
        clone = Path(self.folder, "clone")
        self.run_in("git", "clone", "--quiet", "--no-tags", PROJECT, clone)
        wheel = build_wheel(clone, Path(self.folder, "wheel"))
        self.run_in(
            *(sys.executable, "-m", "pip", "--python", python, "install"),
            *("--no-deps", "--no-compile", wheel),
        )
        # Tempest logs to the same output, before.
        answer = json.loads(self.run_in(python, "-c", LOAD, *ABSENT).splitlines()[-1])
        self.assertEqual([], answer["there"])
        self.assertEqual([], answer["errors"])
        self.assertGreater(answer["tests"], 25)
        self.assertIn("disk/usb", answer["cases"])
