# SPDX-License-Identifier: Apache-2.0
"""Rescue images of several sizes, and Nova's cache without them."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from lab.config import Lab
from lab.guest import GuestImages

_CHUNK = 4 * 1024**2


def rescue(lab: Lab, images: GuestImages, mebibytes: int | None) -> Path:
    """Return the rescue image, with random bytes behind its partition if it is larger.

    :param mebibytes: the size of its data; None for the small image
    """
    if mebibytes is None:
        return images.rescue_qcow2
    folder = lab.cache / "benchmarks"
    folder.mkdir(exist_ok=True)
    target = folder / f"rescue-{mebibytes}-{images.build}.qcow2"
    if not target.exists():
        raw = target.with_suffix(".raw")
        shutil.copy(images.rescue_raw, raw)
        with raw.open("ab") as stream:
            while stream.tell() < mebibytes * 1024**2:
                stream.write(os.urandom(_CHUNK))
        temporary = target.with_suffix(".new")
        convert = ["qemu-img", "convert", "-O", "qcow2", str(raw), str(temporary)]
        subprocess.run(convert, check=True)
        temporary.replace(target)
        raw.unlink()
    return target


def forget(lab: Lab, image: str) -> None:
    """Remove an image from Nova's cache on the host, so that Nova fetches it anew."""
    name = hashlib.sha1(image.encode(), usedforsecurity=False).hexdigest()
    for file in (lab.data("nova/instances") / "_base").glob(f"{name}*"):
        file.unlink()
