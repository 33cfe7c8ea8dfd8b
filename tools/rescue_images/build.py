# SPDX-License-Identifier: Apache-2.0
"""Build the images in a folder; nothing outside the folder is changed."""

import dataclasses
import datetime
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from elapsed import Clock

from rescue_images import MAX_SIZE, ImageError, disk, iso, tree
from rescue_images.boot import Boot, new_identity
from rescue_images.commands import run

#: What the build calls, with the Debian package of each.
_TOOLS = {
    "mmdebstrap": "mmdebstrap",
    "mksquashfs": "squashfs-tools",
    "mkfs.vfat": "dosfstools",
    "mcopy": "mtools",
    "sfdisk": "fdisk",
    "qemu-img": "qemu-utils",
    "xorriso": "xorriso",
    "unshare": "util-linux",
}
#: Free space that a build needs, in bytes: the tree, and each image twice.
_SPACE = 3 * 1024**3
_MAKERS = {"qcow2": disk.make, "iso": iso.make}
FORMATS = tuple(_MAKERS)


@dataclasses.dataclass(frozen=True)
class Options:
    """What a build is asked for."""

    out: Path
    suite: str
    mirror: str
    formats: tuple[str, ...] = FORMATS


def image_path(out: Path, image_format: str) -> Path:
    """Return where an image is built."""
    return out / f"rescue.{image_format}"


def check_host(out: Path) -> None:
    """Check what a build needs of the machine.

    :raises ImageError: if the caller is not root, a command is missing, or the file
        system of the folder has no room
    """
    if os.geteuid() != 0:
        raise ImageError("root is required, because packages are installed in a chroot")
    # Debian keeps some of them in folders that PATH of root may lack.
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    missing = [package for name, package in _TOOLS.items() if not shutil.which(name)]
    if missing:
        raise ImageError(f"packages are missing: apt-get install {' '.join(missing)}")
    out.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(out).free
    if free < _SPACE:
        raise ImageError(
            f"{out} has {free / 1024**3:.1f} GiB left, and a build needs"
            f" {_SPACE // 1024**3}: free some, or choose another folder with --out"
        )


@contextmanager
def _work_folder(out: Path) -> Iterator[Path]:
    """Yield a folder for one build, which is removed whatever happens.

    :raises ImageError: if another build uses the folder
    """
    with (out / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ImageError(f"another build is running in {out}") from error
        work = out / "work"
        # A build that was killed leaves its folder, but none of its mounts.
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        try:
            yield work
        finally:
            shutil.rmtree(work, ignore_errors=True)


def build(options: Options, clock: Clock) -> dict[str, Path]:
    """Build the images; return the path of each format.

    :raises ImageError: if a step fails; images of an earlier build then stay
    """
    check_host(options.out)
    log = options.out / "build.log"
    with _work_folder(options.out) as work:
        log.write_bytes(b"")
        root = work / "tree"
        clock.say(f"packages of Debian {options.suite}; log: {log}")
        cache = options.out / "cache"
        tree.make(root, cache, log, clock, options.suite, options.mirror)
        boot = _packed(root, work, log, clock)
        paths = {}
        for image_format in options.formats:
            clock.say(f"image: {image_format}")
            made = work / f"rescue.{image_format}"
            _MAKERS[image_format](boot, made)
            size = made.stat().st_size
            if size > MAX_SIZE:
                raise ImageError(
                    f"the {image_format} has {size >> 20} MiB, more than"
                    f" {MAX_SIZE >> 20}: remove packages from rescue-image/packages"
                )
            path = image_path(options.out, image_format)
            made.rename(path)
            paths[image_format] = path
            clock.say(f"  {path}: {size >> 20} MiB")
        (options.out / "identity").write_text(f"{boot.identity}\n")
    return paths


def _packed(root: Path, work: Path, log: Path, clock: Clock) -> Boot:
    """Return a tree that has got an identity, packed as squashfs."""
    identity = new_identity()
    date = datetime.datetime.now(tz=datetime.UTC).strftime("%Y-%m-%d %H:%M")
    marks = root / "etc/rescue-image"
    marks.mkdir(exist_ok=True)
    (marks / "identity").write_text(f"{identity}\n")
    (marks / "date").write_text(f"{date}\n")
    clock.say(f"compression of the system, identity {identity}")
    squashfs = work / "rescue.squashfs"
    run(
        log,
        *("mksquashfs", root, squashfs, "-noappend", "-no-progress", "-quiet"),
        *("-comp", "zstd", "-Xcompression-level", "15", "-b", "256K"),
        # The kernel and the initramfs are beside the system, where GRUB reads them.
        *(
            "-wildcards",
            "-e",
            "boot/*",
            "tmp/*",
            "var/cache/apt/*",
            "var/lib/apt/lists/*",
        ),
        clock=clock,
    )
    return Boot(root, work, log, identity, squashfs, date)
