# SPDX-License-Identifier: Apache-2.0
"""Images to rescue servers with: the source is a file or an image of the cloud."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

CHUNK_BYTES = 1 << 20


def local_file(images_client: Any, source: str, folder: Path) -> Path:
    """Return the file that an option names by an absolute path or by an image id.

    An image is downloaded into ``folder``, at most once.

    :raises tempest.lib.exceptions.NotFound: if there is no such image
    """
    path = Path(source)
    if path.is_absolute():
        return path
    target = folder / source
    if not target.exists():
        partial = folder / f"{source}.partial"
        response = images_client.show_image_file(source, chunked=True)
        try:
            with partial.open("wb") as file:
                shutil.copyfileobj(response, file, CHUNK_BYTES)
        finally:
            response.release_conn()
        partial.rename(target)
    return target


def create(images_client: Any, name: str, disk_format: str, **properties: Any) -> str:
    """Create an image without content and return its id.

    :param properties: the image's properties, and fields such as min_disk
    """
    image = images_client.create_image(
        name=name,
        disk_format=disk_format,
        container_format="bare",
        visibility="private",
        **properties,
    )
    return str(image["id"])


def upload(images_client: Any, image: str, path: Path) -> None:
    """Upload a file as the content of an image."""
    with path.open("rb") as file:
        images_client.store_image_file(image, file)
