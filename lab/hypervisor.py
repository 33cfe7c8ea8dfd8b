# SPDX-License-Identifier: Apache-2.0
"""libvirt and QEMU of another release of Debian, beside what this machine has.

``python -m lab.hypervisor make RELEASE`` makes a folder with the release's programs.
In the sandbox they run with that folder as their root. Only its /usr is the release's:
everything else is bound from the sandbox, so that a path means the same to libvirtd, to
QEMU and to all others.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from lab.config import Lab
from lab.errors import LabError
from lab.packages import run_logged
from lab.sandbox import REPOSITORY

#: "" stands for this machine's programs.
RELEASES = ("trixie",)
MIRROR = "http://deb.debian.org/debian"
#: Debian 13 has SPICE and the qxl video device in a package of their own.
PACKAGES = (
    "libvirt-daemon-system",
    "libvirt-clients",
    "ovmf",
    "qemu-block-extra",
    "qemu-system-modules-spice",
    "qemu-system-x86",
    "qemu-utils",
    "swtpm",
    "swtpm-tools",
    "virtiofsd",
)
CACHE = REPOSITORY / ".lab" / "cache" / "hypervisor"
#: This file in the folder says that it is complete, and for which packages.
MARKER = "lab-complete"
#: The folder's place in the sandbox. It is mounted there, so that what is mounted
#: below it is not seen in the cache.
ROOT = "/run/hypervisor"
#: Not bound from the sandbox: the release's own folders, and links to them.
PROGRAMS = ("bin", "lib", "lib32", "lib64", "libx32", "sbin", "usr")
MAKE_SECONDS = 1800


def folder(release: str) -> Path:
    """Return the folder of a release."""
    return CACHE / release


def is_complete(release: str) -> bool:
    """Return True if the folder of a release has every package that it should have."""
    marker = folder(release) / MARKER
    return marker.exists() and marker.read_text() == _fingerprint()


def make(release: str, log: Path) -> None:
    """Make the folder of a release, unless it is complete.

    Needs root, mmdebstrap and the network.

    :raises LabError: with the end of mmdebstrap's output, if it fails
    """
    if is_complete(release):
        return
    if shutil.which("mmdebstrap") is None:
        raise LabError("mmdebstrap not found: apt-get install mmdebstrap")
    CACHE.mkdir(parents=True, exist_ok=True)
    # Two may be made at the same time, and each may be interrupted.
    with tempfile.TemporaryDirectory(dir=CACHE, ignore_cleanup_errors=True) as made:
        tree = Path(made) / release
        command = [
            *("unshare", "--mount", "--propagation=private", "--pid", "--fork"),
            *("--mount-proc", "--kill-child", "--"),
            *("timeout", str(MAKE_SECONDS), "mmdebstrap", "--mode=root"),
            *("--variant=minbase", f"--include={','.join(PACKAGES)}"),
            *('--aptopt=APT::Install-Recommends "false"', "--dpkgopt=force-unsafe-io"),
            *(release, str(tree), MIRROR),
        ]
        hint = f"mmdebstrap needs root and {MIRROR}; all output is in {log}."
        run_logged(command, log, hint=hint)
        (tree / MARKER).write_text(_fingerprint())
        # QEMU runs as another user, and the folder is its root.
        tree.chmod(0o755)
        shutil.rmtree(folder(release), ignore_errors=True)
        tree.rename(folder(release))


def enter(lab: Lab) -> list[str]:
    """Return the words to put before a program, so that it is the chosen release's.

    The folder is mounted in the sandbox at the first call.

    :raises LabError: if the folder has not been made
    """
    release = lab.options.hypervisor
    if not release:
        return []
    if not is_complete(release):
        raise LabError(f"Run `python -m lab.hypervisor make {release}` first.")
    mounted = lab.sandbox.run(["mountpoint", "--quiet", ROOT], check=False)
    if mounted.returncode:
        for command in _mounting(folder(release)):
            lab.sandbox.run(command)
    return ["chroot", ROOT]


def _mounting(root: Path) -> list[list[str]]:
    """Return the commands that mount a folder in the sandbox."""
    bound = [
        path.name
        for path in Path("/").iterdir()
        if path.is_dir() and not path.is_symlink() and path.name not in PROGRAMS
    ]
    commands = [
        # A file system that is mounted later, such as a test's, is seen in both.
        ["mount", "--make-rshared", "/"],
        ["mkdir", "--parents", ROOT],
        ["mount", "--bind", str(root), ROOT],
        ["mount", "--make-private", ROOT],
    ]
    for name in bound:
        # ROOT is in /run, and must not be bound into itself.
        bind = "--bind" if name == "run" else "--rbind"
        commands += [
            ["mkdir", "--parents", f"{ROOT}/{name}"],
            ["mount", bind, f"/{name}", f"{ROOT}/{name}"],
        ]
    return commands


def _fingerprint() -> str:
    return hashlib.sha256("\n".join(PACKAGES).encode()).hexdigest()


def main(words: Sequence[str] | None = None) -> int:
    """Make the folder of a release; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m lab.hypervisor",
        description="Install another release's libvirt and QEMU in a folder.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("make", help="make the folder, unless it is there")
    command.add_argument("release", choices=RELEASES)
    options = parser.parse_args(words)
    try:
        make(options.release, CACHE / f"{options.release}.log")
    except LabError as error:
        print(f"hypervisor: {error}", file=sys.stderr)
        return 1
    print(folder(options.release))
    return 0


if __name__ == "__main__":
    sys.exit(main())
