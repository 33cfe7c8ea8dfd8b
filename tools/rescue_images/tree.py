# SPDX-License-Identifier: Apache-2.0
"""The tree of the rescue system: Debian packages and the files of the recipe."""

from pathlib import Path

from elapsed import Clock

from rescue_images import RECIPE, ImageError
from rescue_images.commands import run

_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
#: What apt prints, and what that means to whoever builds.
_REASONS = {
    "Unable to locate package": "a package of rescue-image/packages does not exist",
    "Could not resolve": "the package archive cannot be reached: no DNS",
    "Could not connect": "the package archive cannot be reached",
    "Failed to fetch": "the package archive cannot be reached",
    "No space left on device": "there is no space left",
    "NO_PUBKEY": f"{_KEYRING} is too old: upgrade debian-archive-keyring",
}
# Mounts end with the namespace, and the namespace with its first process, so that none
# is left however the build ends.
_NAMESPACES = (
    "unshare",
    "--mount",
    "--propagation=private",
    "--pid",
    "--fork",
    "--mount-proc",
    "--kill-child",
    "--",
)


def lines_of(name: str) -> list[str]:
    """Return the lines of a list of the recipe, without comments."""
    lines = (RECIPE / name).read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def command(tree: Path, cache: Path, suite: str, mirror: str) -> list[str]:
    """Return the command that makes the tree.

    :param cache: keeps downloaded packages for the next build
    """
    archives = "/var/cache/apt/archives"
    return [
        *_NAMESPACES,
        "mmdebstrap",
        "--mode=root",
        "--variant=apt",
        "--format=directory",
        "--skip=essential/unlink",
        '--aptopt=APT::Install-Recommends "false"',
        "--dpkgopt=force-unsafe-io",
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in lines_of("path-exclude")),
        f"--include={','.join(lines_of('packages'))}",
        f'--setup-hook=mkdir -p "$1{archives}"',
        f"--setup-hook=sync-in {cache} {archives}",
        f"--customize-hook=sync-out {archives} {cache}",
        f'--customize-hook="{RECIPE / "customize"}" "$1"',
        suite,
        str(tree),
        f"deb [signed-by={_KEYRING}] {mirror} {suite} main",
        f"deb [signed-by={_KEYRING}] {mirror} {suite}-updates main",
        f"deb [signed-by={_KEYRING}] {mirror}-security {suite}-security main",
    ]


def make(
    tree: Path, cache: Path, log: Path, clock: Clock, suite: str, mirror: str
) -> None:
    """Make the tree of the rescue system.

    :raises ImageError: if mmdebstrap fails; the message begins with the likely reason
    """
    cache.mkdir(parents=True, exist_ok=True)
    try:
        run(log, *command(tree, cache, suite, mirror), clock=clock)
    except ImageError as error:
        text = log.read_text(errors="replace")
        for sign, reason in _REASONS.items():
            if sign in text:
                raise ImageError(f"{reason}\n{error}") from error
        raise


def kernel_of(tree: Path) -> tuple[Path, Path]:
    """Return the kernel and the initramfs of a tree.

    :raises ImageError: unless there is exactly one of each
    """
    found = []
    for pattern in ("vmlinuz-*", "initrd.img-*"):
        paths = list((tree / "boot").glob(pattern))
        if len(paths) != 1:
            raise ImageError(f"the tree has {len(paths)} files /boot/{pattern}")
        found.append(paths[0])
    return found[0], found[1]
