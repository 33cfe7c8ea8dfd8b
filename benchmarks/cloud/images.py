# SPDX-License-Identifier: Apache-2.0
"""Images of guests in several sizes, and Nova's cache without them."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

from benchmarks.cloud import guest
from lab.config import Lab

#: What the guests of an image print when they boot.
BOOTED = "BENCH {}"
SMALL = 12  # MiB
_CHUNK = 1024**2


def image(lab: Lab, name: str, mebibytes: int = SMALL) -> Path:
    """Return an image of a guest; random bytes make it as large as it should be.

    :param name: what the guest prints when it boots, see BOOTED
    """
    folder = lab.cache / "benchmarks"
    folder.mkdir(exist_ok=True)
    sector = guest.boot_sector(BOOTED.format(name))
    digest = hashlib.sha256(sector).hexdigest()[:8]
    target = folder / f"{name}-{mebibytes}-{digest}.qcow2"
    if not target.exists():
        raw = target.with_suffix(".raw")
        with raw.open("wb") as stream:
            stream.write(sector)
            stream.write(os.urandom(_CHUNK - len(sector)))
            for _number in range(mebibytes - 1):
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
