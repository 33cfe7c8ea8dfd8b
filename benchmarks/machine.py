# SPDX-License-Identifier: Apache-2.0
"""What a run is measured on, and with which software."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import subprocess
from pathlib import Path
from typing import Any

#: Name in the results: the distribution, if it is a Python package.
PACKAGES = {"nova": "nova", "stable_rescue": "stable-rescue"}


def machine() -> dict[str, Any]:
    """Return the processor, the number of cores and the size of the memory."""
    model = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return {
        "processor": model[1].strip() if model else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_mib": pages * size // 1024**2,
    }


def versions() -> dict[str, str]:
    """Return the versions of the software; "unknown" for what is not installed."""
    return {
        "kernel": platform.release(),
        "libvirt": _printed("libvirtd", "--version"),
        "qemu": _printed("qemu-system-x86_64", "--version"),
        "python": platform.python_version(),
        **{name: _installed(package) for name, package in PACKAGES.items()},
    }


def _printed(*command: str) -> str:
    """Return the version number that a command prints."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    try:
        output = subprocess.run(
            command,
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, "PATH": path},
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    found = re.search(r"\d+(\.\d+)+", output)
    return found[0] if found else "unknown"


def _installed(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
