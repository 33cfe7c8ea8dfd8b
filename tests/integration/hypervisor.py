# SPDX-License-Identifier: Apache-2.0
"""Files and programs of the hypervisor, which may be another release than usual."""

from pathlib import Path

from lab.hypervisor import ROOT


def is_another() -> bool:
    """Return True if libvirtd was started from lab.hypervisor's folder."""
    return Path(ROOT, "usr").is_dir()


def path_of(path: str) -> Path:
    """Return where a file of libvirt's or QEMU's packages is."""
    return Path(ROOT, path.lstrip("/")) if is_another() else Path(path)


def command(*argv: str) -> list[str]:
    """Return a command that runs a program of libvirt's or QEMU's packages."""
    return ["chroot", ROOT, *argv] if is_another() else list(argv)
