# SPDX-License-Identifier: Apache-2.0

"""The tempest plugin loads where only tempest is installed, not Nova or libvirt."""

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
#: Packages that a machine with tempest does not have.
ABSENT = ("nova", "libvirt", "os_brick", "os_vif")
#: Loads the plugin as tempest does. Prints what it found, and which packages of its
#: arguments can be imported.
LOAD_PLUGIN = """
import importlib.util, json, sys, unittest
from tempest import config
from tempest.test_discover import plugins

manager = plugins.TempestTestPluginManager()
manager.register_plugin_opts(config.CONF)
folder, top = manager.get_plugin_load_tests_tuple()["stable_rescue"]
loader = unittest.TestLoader()
print(json.dumps({
    "tests": loader.discover(folder, top_level_dir=top).countTestCases(),
    "errors": [str(e) for e in loader.errors],
    "cases": config.CONF.stable_rescue.cases,
    "importable": [n for n in sys.argv[1:] if importlib.util.find_spec(n)],
}))
"""


def requirements(*names: str) -> set[str]:
    """Return the names of distributions and of their requirements, recursively."""
    required: set[str] = set()
    queue = list(names)
    while queue:
        name = re.sub(r"[-_.]+", "-", queue.pop()).lower()
        if name in required:
            continue
        try:
            lines = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue  # The requirement is for another platform or Python.
        required.add(name)
        queue += [NAME.findall(line)[0] for line in lines if "extra ==" not in line]
    return required


def link_distributions(names: set[str], site_packages: Path) -> None:
    """Link the installed files of distributions into a site-packages folder."""
    for name in names:
        distribution = importlib.metadata.distribution(name)
        for top in {path.parts[0] for path in distribution.files or ()}:
            source = Path(str(distribution.locate_file(top)))
            target = site_packages / top
            if top not in ("..", "__pycache__") and not target.exists():
                target.symlink_to(source)


class TestWithoutNova(base.BaseTestCase):
    """The wheel is installed with the requirements of its tempest extra, no others."""

    def run_in_folder(self, *command: str | Path) -> str:
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        result = subprocess.run(
            [str(word) for word in command],
            env=environment | {"HOME": self.folder},
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        self.assertEqual(0, result.returncode, result.stdout + result.stderr)
        return result.stdout

    def test_plugin_without_nova_loads_its_tests(self) -> None:
        self.folder = self.enterContext(tempfile.TemporaryDirectory())
        environment = Path(self.folder, "venv")
        venv.create(environment, with_pip=False, symlinks=True)
        python = environment / "bin" / "python"
        (site_packages,) = environment.glob("lib/python3*/site-packages")
        link_distributions(
            requirements("lxml", "oslo.config", "tempest"), site_packages
        )
        clone = Path(self.folder, "clone")
        self.run_in_folder("git", "clone", "--quiet", "--no-tags", PROJECT, clone)
        wheel = build_wheel(clone, Path(self.folder, "wheel"))
        self.run_in_folder(
            *(sys.executable, "-m", "pip", "--python", python, "install"),
            *("--no-deps", "--no-compile", wheel),
        )
        output = self.run_in_folder(python, "-c", LOAD_PLUGIN, *ABSENT)
        # Tempest logs to the same output, so the answer is the last line.
        plugin = json.loads(output.splitlines()[-1])
        self.assertEqual([], plugin["importable"])
        self.assertEqual([], plugin["errors"])
        self.assertGreater(plugin["tests"], 25)
        self.assertIn("disk/usb", plugin["cases"])
