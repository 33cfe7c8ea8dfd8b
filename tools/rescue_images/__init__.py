# SPDX-License-Identifier: Apache-2.0
"""Build the rescue image: a disk image and an ISO image of one tree."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RECIPE = ROOT / "rescue-image"
#: The memory that a server needs to boot the image, in MiB.
MIN_RAM = 512
#: The limit of each image, in bytes.
MAX_SIZE = 500 * 1024**2


class ImageError(Exception):
    """What keeps the image from being built, uploaded or booted."""
