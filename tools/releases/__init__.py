# SPDX-License-Identifier: Apache-2.0
"""The steps of tools/release: build, check, and try the packages."""

import configparser
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
#: The programs that build and check; kept, because their installation takes longest.
TOOLS = ROOT / ".tox" / "release"
REQUIREMENTS = Path(__file__).with_name("requirements.txt")


class ReleaseError(Exception):
    """A step failed; the message says why."""


def version_of(tree: Path) -> str:
    """Return the version in a tree's setup.cfg."""
    configuration = configparser.ConfigParser()
    configuration.read(tree / "setup.cfg", encoding="utf-8")
    return configuration["metadata"]["version"]
