# SPDX-License-Identifier: Apache-2.0
"""Debian's kernel, downloaded and unpacked but never installed."""

import dataclasses
import re
from pathlib import Path

from lab.guest.tools import GuestBuildError, run


@dataclasses.dataclass(frozen=True)
class KernelTree:
    """An unpacked kernel package."""

    root: Path
    version: str

    @property
    def image(self) -> Path:
        """The bootable kernel."""
        return self.root / "boot" / f"vmlinuz-{self.version}"

    @property
    def modules(self) -> Path:
        """The folder of the kernel's modules."""
        return self.root / "lib" / "modules" / self.version


def fetch(cache_dir: Path) -> Path:
    """Return Debian's kernel package in `cache_dir`; download it if it is missing.

    An existing package is used even if it is old, so that the lab works without a
    network after its first build. Remove the file to get a newer kernel.

    :raises GuestBuildError: if apt has no kernel package or the download fails
    """
    cached = sorted(cache_dir.glob("linux-image-[0-9]*.deb"))
    if cached:
        return cached[-1]
    cache_dir.mkdir(parents=True, exist_ok=True)
    try:
        _download(cache_dir)
    except GuestBuildError:
        # The package lists are missing or too old.
        run(["apt-get", "update", "-q"])
        _download(cache_dir)
    (package,) = cache_dir.glob("linux-image-[0-9]*.deb")
    return package


def _download(folder: Path) -> None:
    shown = run(["apt-cache", "depends", "linux-image-amd64"]).decode()
    match = re.search(r"Depends: (linux-image-[0-9]\S+)", shown)
    if match is None:
        raise GuestBuildError("apt has no kernel package for linux-image-amd64")
    run(["apt-get", "download", "-q", match[1]], cwd=folder)


def unpack(package: Path, root: Path) -> KernelTree:
    """Unpack `package` below `root`.

    :raises GuestBuildError: if the package does not contain exactly one kernel
    """
    run(["dpkg-deb", "-x", package, root])
    images = sorted((root / "boot").glob("vmlinuz-*"))
    if len(images) != 1:
        raise GuestBuildError(f"{package.name} has {len(images)} kernels, not one")
    return KernelTree(root, images[0].name.removeprefix("vmlinuz-"))
