# SPDX-License-Identifier: Apache-2.0
"""The levels of tools/test: what they are, how they are prepared, and how they run."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
#: Everything that tools/test installs or writes, except for system packages and .lab.
TOX = ROOT / ".tox"
TOOLS = TOX / "tools"

#: Time limits in seconds, far above what each level needs on a busy machine.
LEVELS = {
    "pep8": 900,
    "mypy": 900,
    "py3": 1200,
    "functional": 7200,
    "nova-tests": 3600,
    "integration": 3600,
}
#: The older releases of Nova. With --all, RELEASES run instead.
QUICK = dict.fromkeys(("nova31-quick", "nova32-quick", "nova33-quick"), 1800)
RELEASES = dict.fromkeys(
    ("nova31", "nova32", "nova33", "nova34", "nova34-py312", "nova34-py313"), 7200
)
#: Other releases of libvirt and QEMU, with --all.
HYPERVISORS = {"integration-trixie": 7200}
LIMITS = LEVELS | QUICK | RELEASES | HYPERVISORS
#: What "quick" stands for among the levels of the command line.
INNER_LOOP = ("pep8", "mypy", "py3")
