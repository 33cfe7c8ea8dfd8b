# SPDX-License-Identifier: Apache-2.0
"""Builds the guest images: one kernel and one initramfs on several media.

Every image boots on SeaBIOS and OVMF. Nothing is mounted and nothing is installed:
mtools and xorriso write the file systems, and the kernel is unpacked from Debian's
package. The same inputs give the same bytes.
"""

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from lab.guest import bzimage, initramfs, kernel, media
from lab.guest.tools import GuestBuildError, run

__all__ = ["GuestBuildError", "GuestImages", "build"]

_HERE = Path(__file__).parent
#: Each image is built as a disk, and those in _CDROMS as a CD-ROM as well. A marking
#: image writes a marker to every writable disk (see ``init``). The image "other" is a
#: second rescue image.
_ORIGINAL = media.Image("original", "original")
_RESCUE = media.Image("rescue", "rescue")
_MARKING_ORIGINAL = media.Image("original-marking", "original", "lab.mark")
_MARKING_RESCUE = media.Image("rescue-marking", "rescue", "lab.mark")
_OTHER = media.Image("other", "other")
_DISKS = (_ORIGINAL, _RESCUE, _MARKING_ORIGINAL, _MARKING_RESCUE, _OTHER)
_CDROMS = (_RESCUE, _MARKING_RESCUE)
_SOURCES = (
    "init",
    "builder.py",
    "bzimage.py",
    "initramfs.py",
    "kernel.py",
    "media.py",
    "tools.py",
)


@dataclasses.dataclass(frozen=True)
class GuestImages:
    """The paths of the images, and the name of the build, which the guests print."""

    original_raw: Path
    original_qcow2: Path
    rescue_raw: Path
    rescue_qcow2: Path
    rescue_iso: Path
    marking_original_qcow2: Path
    marking_rescue_qcow2: Path
    marking_rescue_iso: Path
    other_qcow2: Path
    build: str

    @classmethod
    def of_paths(cls, values: Mapping[str, str]) -> "GuestImages":
        """Return the images from a mapping of field names to paths."""
        paths = {name: Path(value) for name, value in values.items() if name != "build"}
        return cls(**paths, build=values["build"])

    def rescue(self, device: str) -> Path:
        """Return the rescue image for a hw_rescue_device."""
        return self.rescue_iso if device == "cdrom" else self.rescue_qcow2

    def marking_rescue(self, device: str) -> Path:
        """Return the rescue image that marks disks, for a hw_rescue_device."""
        if device == "cdrom":
            return self.marking_rescue_iso
        return self.marking_rescue_qcow2


def build(out_dir: Path | str, cache_dir: Path | str) -> GuestImages:
    """Return the guest images in `out_dir`; build them if they are missing.

    Idempotent: the name of a build is the hash of its inputs, and an existing build is
    used again. `cache_dir` keeps the kernel package. Processes that build in the same
    folder wait for each other.

    :raises GuestBuildError: if a tool or package is missing or fails; says which
    """
    out_dir, cache_dir = Path(out_dir).resolve(), Path(cache_dir).resolve()
    out_dir.mkdir(parents=True, exist_ok=True)
    with _locked(out_dir):
        package = kernel.fetch(cache_dir)
        name = _build_name(package)
        final = out_dir / name
        if not final.is_dir():
            # A folder with the final name is complete, because it is renamed last.
            scratch = Path(tempfile.mkdtemp(prefix=f"{name}.", dir=out_dir))
            try:
                _build(package, name, scratch).rename(final)
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
    return GuestImages(
        original_raw=final / "original.raw",
        original_qcow2=final / "original.qcow2",
        rescue_raw=final / "rescue.raw",
        rescue_qcow2=final / "rescue.qcow2",
        rescue_iso=final / "rescue.iso",
        marking_original_qcow2=final / "original-marking.qcow2",
        marking_rescue_qcow2=final / "rescue-marking.qcow2",
        marking_rescue_iso=final / "rescue-marking.iso",
        other_qcow2=final / "other.qcow2",
        build=name,
    )


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    with (folder / "lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)  # released when the file is closed
        yield


def _build(package: Path, name: str, scratch: Path) -> Path:
    result = scratch / "images"
    result.mkdir()
    tree = kernel.unpack(package, scratch / "kernel")
    initrd = initramfs.build(tree, _HERE / "init", scratch / "initramfs")
    image = scratch / "vmlinuz"
    image.write_bytes(bzimage.repack(tree.image.read_bytes()))
    boot = media.BootFiles(kernel=image, initrd=initrd, build=name)
    for image in _DISKS:
        raw = result / f"{image.name}.raw"
        media.make_disk(raw, image, boot, scratch)
        run(["qemu-img", "convert", "-O", "qcow2", raw, raw.with_suffix(".qcow2")])
    for image in _CDROMS:
        media.make_iso(result / f"{image.name}.iso", image, boot, scratch)
    manifest = {"build": name, "kernel": package.name}
    (result / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")
    return result


def _build_name(package: Path) -> str:
    """Return the name of the build: a hash of all inputs."""
    digest = hashlib.sha256(package.name.encode())
    busybox = shutil.which("busybox")
    if busybox is None:
        raise GuestBuildError("busybox not found: install busybox-static")
    for source in (*(_HERE / name for name in _SOURCES), Path(busybox)):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:12]
