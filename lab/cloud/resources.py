# SPDX-License-Identifier: Apache-2.0
"""Creates the flavors, networks, images and volume types that servers need.

Arguments: the state folder, then NAME=FORMAT=FILE for each image.
"""

from __future__ import annotations

import sys
from pathlib import Path

import openstack
from openstack.connection import Connection
from openstack.exceptions import raise_from_response

from lab.config import Lab
from lab.services import volume_backends

#: name: (MiB of memory, GiB of root disk, GiB of ephemeral disk, MiB of swap)
FLAVORS = {
    "lab.tiny": (128, 1, 0, 0),
    "lab.full": (192, 1, 1, 64),
    "lab.storage": (192, 1, 2, 64),
}
#: name: subnet. A second network, because a port on it is plugged later.
NETWORKS = {"lab": "192.0.2.0/24", "lab-more": "198.51.100.0/24"}
#: The volume type of LUKS volumes in Ceph, which QEMU decrypts without a host device.
ENCRYPTED = "ceph-luks"


def flavors(cloud: Connection) -> None:
    """Create the flavors that are missing."""
    for number, (name, (ram, disk, ephemeral, swap)) in enumerate(FLAVORS.items()):
        if not cloud.compute.find_flavor(name):
            cloud.compute.create_flavor(
                id=str(number + 1),
                name=name,
                vcpus=1,
                ram=ram,
                disk=disk,
                ephemeral=ephemeral,
                swap=swap,
            )


def networks(cloud: Connection) -> None:
    """Create the networks that are missing; without DHCP, which needs an agent."""
    for name, cidr in NETWORKS.items():
        if not cloud.network.find_network(name):
            network = cloud.network.create_network(name=name, is_shared=True)
            cloud.network.create_subnet(
                name=name,
                network_id=network.id,
                ip_version=4,
                cidr=cidr,
                is_dhcp_enabled=False,
                gateway_ip=None,
            )


def images(cloud: Connection, wanted: list[str]) -> None:
    """Upload the images that are missing."""
    for word in wanted:
        name, disk_format, path = word.split("=", 2)
        if not cloud.image.find_image(name):
            cloud.image.create_image(
                name=name,
                filename=path,
                disk_format=disk_format,
                container_format="bare",
                visibility="public",
                validate_checksum=True,
            )


def volume_types(cloud: Connection, lab: Lab) -> None:
    """Create a volume type for each backend, and one for encrypted volumes in Ceph."""
    for backend in volume_backends(lab):
        if not cloud.block_storage.find_type(backend.volume_type):
            cloud.block_storage.create_type(
                name=backend.volume_type,
                extra_specs={"volume_backend_name": backend.name},
            )
    if "ceph" in lab.options.backends and not cloud.block_storage.find_type(ENCRYPTED):
        kind = cloud.block_storage.create_type(
            name=ENCRYPTED, extra_specs={"volume_backend_name": "ceph"}
        )
        cloud.block_storage.create_type_encryption(
            kind,
            provider="luks",
            cipher="aes-xts-plain64",
            key_size=256,
            control_location="front-end",
        )


def quotas(cloud: Connection) -> None:
    """Remove the limits on volumes, which Cinder keeps in its database."""
    raise_from_response(
        cloud.block_storage.put(
            "/os-quota-class-sets/default",
            json={"quota_class_set": {"volumes": -1, "gigabytes": -1}},
        )
    )


def main(lab: Lab, wanted: list[str]) -> None:
    """Create what is missing."""
    cloud = openstack.connect()
    # Neutron answers its first listing of ports with an error if it has had no request.
    cloud.network.get("/networks")
    flavors(cloud)
    networks(cloud)
    if lab.options.backends:
        quotas(cloud)
        volume_types(cloud, lab)
    images(cloud, wanted)


if __name__ == "__main__":
    main(Lab.open(Path(sys.argv[1])), sys.argv[2:])
