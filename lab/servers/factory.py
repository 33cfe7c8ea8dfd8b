# SPDX-License-Identifier: Apache-2.0
"""Making images, volumes and servers, and deleting them again."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from openstack.connection import Connection

from lab.config import Lab
from lab.servers.api import API_SECONDS
from lab.services import volume_backends

NETWORK = "lab"

# What a server's disks are made of, as the API's block_device_mapping_v2.


def image_disk(image: str) -> dict[str, Any]:
    """Return a local root disk made from an image."""
    return {
        "uuid": image,
        "source_type": "image",
        "destination_type": "local",
        "boot_index": 0,
        "delete_on_termination": True,
    }


def volume_disk(volume: str, *, root: bool = False) -> dict[str, Any]:
    """Return a volume, which the server may have as its root disk."""
    return {
        "uuid": volume,
        "source_type": "volume",
        "destination_type": "volume",
        "boot_index": 0 if root else -1,
        "delete_on_termination": False,
    }


def ephemeral_disk() -> dict[str, Any]:
    """Return a blank local disk of 1 GiB."""
    return {
        "source_type": "blank",
        "destination_type": "local",
        "boot_index": -1,
        "volume_size": 1,
        "delete_on_termination": True,
    }


def swap_disk() -> dict[str, Any]:
    """Return a local swap disk of 64 MiB."""
    return {**ephemeral_disk(), "volume_size": 64, "guest_format": "swap"}


class ServerFactory:
    """Makes what servers consist of.

    ``cleanup`` gets a callback for each image and volume, which deletes it. The caller
    that creates a server has to delete it before its volumes.
    """

    def __init__(
        self, lab: Lab, cloud: Connection, cleanup: contextlib.ExitStack, name: str
    ) -> None:
        self.lab, self.cloud, self.cleanup, self.name = lab, cloud, cleanup, name
        #: The volume types of the lab, one for each backend.
        self.volume_types = [backend.volume_type for backend in volume_backends(lab)]

    def image(self, path: Path, **properties: str) -> str:
        """Upload an image; its suffix is its format. Return the id."""
        image = self.cloud.image.create_image(
            name=self.name,
            filename=str(path),
            disk_format=path.suffix[1:],
            container_format="bare",
            allow_duplicates=True,
            **properties,
        )
        self.cleanup.callback(self.cloud.image.delete_image, image.id)
        return str(image.id)

    def rescue_image(self, path: Path, device: str, bus: str, **properties: str) -> str:
        """Upload a rescue image and return its id; ``bus`` is "" for the default."""
        properties["hw_rescue_device"] = device
        if bus:
            properties["hw_rescue_bus"] = bus
        return self.image(path, **properties)

    def volume(self, kind: str, image: str | None = None) -> Any:
        """Return a new volume of 1 GiB, empty or made from an image."""
        return self.volumes([kind], image)[0]

    def volumes(self, kinds: Iterable[str], image: str | None = None) -> list[Any]:
        """Return new volumes of 1 GiB, one for each volume type in ``kinds``."""
        storage = self.cloud.block_storage
        source = {"image_id": image} if image else {}
        volumes = []
        for kind in kinds:
            volume = storage.create_volume(
                size=1, volume_type=kind, name=self.name, **source
            )
            self.cleanup.callback(self._delete_volume, volume)
            volumes.append(volume)
        return [
            storage.wait_for_status(volume, "available", wait=API_SECONDS)
            for volume in volumes
        ]

    def server(
        self,
        flavor: str,
        *,
        image: str | None = None,
        disks: Sequence[dict[str, Any]] = (),
        name: str | None = None,
    ) -> Any:
        """Return a new server, which is still being built.

        The server has a config drive, and one port if the lab has a network.

        :param image: what the root disk is made from, if it is not a volume. The API
            wants the image here even if ``disks`` has it.
        :param disks: all disks, for a server with other disks than its flavor gives it
        """
        network: Any = "none"
        if self.lab.options.network:
            network = [{"uuid": self.cloud.network.find_network(NETWORK).id}]
        return self.cloud.compute.create_server(
            name=name or self.name,
            flavor_id=self.cloud.compute.find_flavor(flavor).id,
            networks=network,
            config_drive=True,
            **({"image_id": image} if image else {}),
            **({"block_device_mapping": list(disks)} if disks else {}),
        )

    def delete(self, server: Any) -> None:
        """Delete a server, if it still exists, and wait until it is gone."""
        self.cloud.compute.delete_server(server, ignore_missing=True)
        self.cloud.compute.wait_for_delete(server, wait=API_SECONDS)

    def _delete_volume(self, volume: Any) -> None:
        storage = self.cloud.block_storage
        storage.wait_for_status(volume, "available", wait=API_SECONDS)
        storage.delete_volume(volume)
        # Chaos looks for leftovers, and the backend has the volume until it is deleted.
        storage.wait_for_delete(volume, wait=API_SECONDS)
