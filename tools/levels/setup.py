# SPDX-License-Identifier: Apache-2.0
"""What levels need: tools, system packages, guest images and environments of tox.

All but the tools is prepared while other levels run.
"""

import importlib.util
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path

from levels import ROOT, TOOLS, TOX, made
from levels.processes import Processes, say, tail

TOOL_REQUIREMENTS = ["bindep>=2.11", "tox>=4.28", "tox-uv>=1.20"]
LOG = TOX / "tools.log"
#: The bindep profiles of levels, besides "test".
PROFILES = {
    "integration": ("integration",),
    "integration-trixie": ("integration", "hypervisor"),
}
#: Levels that need no system package.
WITHOUT_PACKAGES = ("pep8", "mypy")
GUESTS = ROOT / ".lab" / "cache"
#: What tox prints when it has made an environment, and again when it ends.
MADE = re.compile(r"\s*(?P<level>\S+): (?P<result>OK|FAIL)\b")


class NotReadyError(Exception):
    """A level could not be prepared; the message says why."""


class UnavailableError(Exception):
    """The Python of a level is not installed and cannot be installed."""


def environment() -> dict[str, str]:
    """Return the environment variables for all commands; caches are below .tox."""
    environ = {
        **os.environ,
        # The environment py3 has the first python3 in PATH.
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PIP_CACHE_DIR": str(TOX / "cache" / "pip"),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "UV_CACHE_DIR": str(TOX / "cache" / "uv"),
        "UV_PYTHON_INSTALL_DIR": str(TOX / "python"),
        "XDG_CACHE_HOME": str(TOX / "cache"),
        "VIRTUALENV_OVERRIDE_APP_DATA": str(TOX / "cache" / "virtualenv"),
    }
    git = ["git", "-C", str(ROOT), "rev-parse", "HEAD"]
    if subprocess.run(git, capture_output=True, check=False).returncode:
        # pbr cannot derive a version without a repository of this user.
        environ.setdefault("PBR_VERSION", "0.1.0.dev0")
    return environ


def tox(*arguments: str) -> list[str]:
    """Return the command that runs tox."""
    return [str(TOOLS / "bin" / "python"), "-m", "tox", *arguments]


def install_tools() -> None:
    """Install the tools that run the tests."""
    TOX.mkdir(exist_ok=True)
    if importlib.util.find_spec("ensurepip") is None:
        install_packages(["python3-venv"])
    if not (TOOLS / "bin" / "tox").exists():
        say(f"installing {' '.join(TOOL_REQUIREMENTS)}")
        pip = [str(TOOLS / "bin" / "python"), "-m", "pip", "install", "-qq"]
        subprocess.run([sys.executable, "-m", "venv", str(TOOLS)], check=True)
        subprocess.run([*pip, *TOOL_REQUIREMENTS], env=environment(), check=True)


def install_packages(names: Sequence[str]) -> None:
    """Install Debian packages.

    :raises NotReadyError: if that fails, or the user is not root
    """
    from lab import packages
    from lab.errors import LabError

    if os.geteuid() != 0:
        raise NotReadyError(f"Run as root: apt-get install {' '.join(names)}")
    say(f"installing {' '.join(names)}")
    try:
        packages.install_packages(names, LOG)
    except LabError as error:
        raise NotReadyError(str(error)) from error


class Preparation(threading.Thread):
    """Prepares levels; each can run as soon as it is ready."""

    def __init__(self, levels: Sequence[str], processes: Processes) -> None:
        super().__init__(name="preparation", daemon=True)
        self._levels = levels
        self._processes = processes
        self._finished = {level: threading.Event() for level in levels}
        self._errors: dict[str, Exception] = {}

    def run(self) -> None:
        bare = [level for level in self._levels if level in WITHOUT_PACKAGES]
        others = [level for level in self._levels if level not in WITHOUT_PACKAGES]
        for levels in filter(None, (bare, others)):
            try:
                if levels is others:
                    self._install_missing()
                self._make_environments(levels)
            except Exception as error:  # noqa: BLE001 - raised by wait()
                self._finish(levels, error)

    def wait(self, level: str) -> None:
        """Wait until a level can run.

        :raises NotReadyError: it could not be prepared
        :raises UnavailableError: its Python is not available
        """
        self._finished[level].wait()
        if level in self._errors:
            raise self._errors[level]

    def _finish(self, levels: Iterable[str], error: Exception | None = None) -> None:
        """Set that levels are ready, or why not, unless that is set already."""
        for level in levels:
            if not self._finished[level].is_set():
                if error:
                    self._errors[level] = error
                self._finished[level].set()

    def _install_missing(self) -> None:
        """Install what all levels need: most of the time goes into the start of apt."""
        profiles = {"test"}.union(*(PROFILES.get(level, ()) for level in self._levels))
        listed = subprocess.run(
            [str(TOOLS / "bin" / "bindep"), "--brief", *sorted(profiles)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        if missing := listed.stdout.split():
            install_packages(missing)

    def _make_environments(self, levels: Sequence[str]) -> None:
        """Make the environments of levels, all in one run of tox."""
        available = [level for level in levels if self._has_python(level)]
        self._finish({*levels} - {*available}, UnavailableError())
        current = [level for level in available if made.is_current(level)]
        for level in current:
            self._complete(level)
        names = [level for level in available if level not in current]
        if not names:
            return
        command = tox("run", "-q", "--colored", "no", "--notest", "-e", ",".join(names))
        log = log_of(f"{levels[0]}-setup")
        process = self._processes.start(command, environment(), ROOT)
        assert process.stdout is not None
        with process.stdout as output, log.open("w") as text:
            for line in output:
                print(line, end="", file=text, flush=True)
                if not (match := MADE.match(line)) or match["level"] not in names:
                    continue
                if match["result"] == "FAIL":
                    self._finish([match["level"]], NotReadyError(tail(log)))
                elif not self._finished[match["level"]].is_set():
                    made.note(match["level"])
                    self._complete(match["level"])
        if self._processes.wait(process):
            raise NotReadyError(tail(log))
        self._finish(names)

    def _complete(self, level: str) -> None:
        """Finish a level whose environment is there."""
        try:
            if level.startswith("integration"):
                build = [sys.executable, "-m", "lab.guest", "build"]
                paths = ["--out", str(GUESTS / "guest"), "--cache", str(GUESTS)]
                self._run("guest-setup", [*build, *paths])
        except NotReadyError as error:
            self._finish([level], error)
        else:
            self._finish([level])

    def _has_python(self, level: str) -> bool:
        """Return True if the Python of a level is installed, or has been installed."""
        factor = re.search(r"-py(\d)(\d+)", level)
        if not factor:
            return True
        for action in ("find", "install"):
            uv = [str(TOOLS / "bin" / "uv"), "python", action]
            command = [*uv, f"{factor[1]}.{factor[2]}"]
            if self._processes.run(command, environment(), log_of("python"), ROOT) == 0:
                return True
        return False

    def _run(self, name: str, command: list[str]) -> None:
        log = log_of(name)
        if self._processes.run(command, environment(), log, ROOT):
            raise NotReadyError(f"{' '.join(command)} failed:\n{tail(log)}")


def log_of(name: str) -> Path:
    """Return the file for the output of a level, or of its preparation."""
    folder = TOX / "logs"
    folder.mkdir(exist_ok=True)
    return folder / f"{name}.log"
