# SPDX-License-Identifier: Apache-2.0
"""``tools/lab tempest``: run tempest's rescue tests and this project's plugin.

The tests run once for each machine type. Each type supports buses that the other does
not, so no test is skipped in every run.
"""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path
from typing import Any

from lab import guest
from lab.clock import Clock
from lab.config import Lab
from lab.errors import LabError

MACHINES = ("q35", "pc")
#: The rescue tests of tempest, and all tests of the plugin.
TESTS = r"(test_server_rescue|stable_rescue\.tempest)"
FOLDER = "tempest"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``tempest`` to ``parser``."""
    parser.add_argument(
        "--regex",
        default=TESTS,
        help="run the tests whose names match (default: %(default)s)",
    )
    parser.add_argument(
        "--machine",
        choices=MACHINES,
        help="the machine type of all servers (default: one run for each)",
    )
    parser.add_argument(
        "--concurrency",
        type=int,
        default=2,
        help="how many tests run at a time (default: %(default)s)",
    )
    parser.add_argument("--keep", action="store_true", help="leave the lab up")


def main(lab: Lab, arguments: argparse.Namespace) -> int:
    """Run the tests in a lab that is up; return 0 if none failed."""
    machines = [arguments.machine] if arguments.machine else list(MACHINES)
    images = guest.build(lab.cache / "guest", lab.cache)
    clock = Clock()
    streams = []
    for machine in machines:
        folder = _folder(lab, machine)
        _configure(lab, images, machine, folder)
        clock.say(f"tempest: {machine}")
        streams.append(_run(lab, folder, arguments))
    driver = f"{lab.options.driver}, Nova {lab.options.nova}"
    report = [lab.bin("python"), "-m", "lab.tempest.report", driver]
    report += [str(stream) for stream in streams]
    failed = _call(lab, report, folder)
    clock.say(f"reports: {', '.join(str(s.with_suffix('.html')) for s in streams)}")
    return failed


def _folder(lab: Lab, machine: str) -> Path:
    """Return the folder of a run; it is kept when the lab goes down."""
    driver = re.sub(r"\W+", "-", lab.options.driver)
    folder = lab.state / FOLDER / f"{driver}-{lab.options.nova}-{machine}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _configure(lab: Lab, images: guest.GuestImages, machine: str, folder: Path) -> None:
    lab.cloud(
        "tempest_conf",
        machine,
        str(folder),
        str(images.original_qcow2),
        str(images.marking_rescue_qcow2),
        str(images.marking_rescue_iso),
    )


def _run(lab: Lab, folder: Path, arguments: argparse.Namespace) -> Path:
    """Run tempest; return the file of its results, a subunit stream.

    :raises LabError: if tempest has no results
    """
    command = [lab.bin("tempest"), "run", "--config-file", "tempest.conf"]
    command += ["--regex", arguments.regex]
    command += ["--concurrency", str(arguments.concurrency)]
    _call(lab, command, folder)
    stream = folder / "results.subunit"
    last = [lab.bin("stestr"), "last", "--subunit"]
    with stream.open("wb") as file:
        code = _call(lab, last, folder, stdout=file)
    if code or not stream.stat().st_size:
        raise LabError(f"tempest has no results; see above, and the logs in {folder}")
    html = [lab.bin("subunit2html"), str(stream), str(stream.with_suffix(".html"))]
    _call(lab, html, folder)
    return stream


def _call(lab: Lab, argv: list[str], folder: Path, **more: Any) -> int:
    """Run a command of the virtual environment in the sandbox; return its status."""
    path = f"{lab.venv / 'bin'}:{os.environ.get('PATH', '')}"
    environment = {
        "PATH": path,
        "PYTHONPATH": str(lab.repository),
        # A test that takes more seconds than this fails.
        "OS_TEST_TIMEOUT": "1800",
    }
    return lab.sandbox.call(argv, cwd=folder, env=environment, **more)
