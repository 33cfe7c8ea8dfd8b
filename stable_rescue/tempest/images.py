# SPDX-License-Identifier: Apache-2.0
"""The images that servers are rescued with: a file, uploaded anew for each test."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

CHUNK = 1 << 20  # bytes


def local_file(images_client: Any, source: str, folder: Path) -> Path:
    """Return the file that an option names: a path, or an image by its id.

    An image is downloaded into ``folder``, once.

    :raises tempest.lib.exceptions.NotFound: where there is neither
    """
    path = Path(source)
    if path.is_absolute():
        return path
    target = folder / source
    if not target.exists():
        partial = folder / f"{source}.partial"
        answer = images_client.show_image_file(source, chunked=True)
        try:
            with partial.open("wb") as file:
                shutil.copyfileobj(answer, file, CHUNK)
        finally:
            answer.release_conn()
        partial.rename(target)
    return target


def create(images_client: Any, name: str, disk_format: str, **more: Any) -> str:
    """Create an image that has no content yet; return its id.

    :param more: its properties, min_disk and the like
    """
    image = images_client.create_image(
        name=name,
        disk_format=disk_format,
        container_format="bare",
        visibility="private",
        **more,
    )
    return str(image["id"])


def upload(images_client: Any, image: str, path: Path) -> None:
    """Give an image its content."""
    with path.open("rb") as file:
        images_client.store_image_file(image, file)
