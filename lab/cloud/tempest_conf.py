# SPDX-License-Identifier: Apache-2.0
"""Creates an image and a network for tempest, and writes tempest.conf.

Arguments: the state folder, a machine type, the folder for tempest.conf, then the files
of the servers' image, of a rescue disk and of a rescue CD-ROM.
"""

from __future__ import annotations

import configparser
import os
import sys
from pathlib import Path

import openstack
from openstack.connection import Connection

from lab.cloud import resources
from lab.config import REGION, Lab, private_opener
from lab.services import volume_backends

NETWORK = "lab"
PUBLIC = "lab-public"
#: The rescue devices and buses that a machine type supports, and does not support.
#: CD-ROM on USB is in neither: before libvirt 11.5 guests see a hard disk (F34).
CASES = {
    "q35": "disk/virtio,disk/scsi,disk/usb,disk/sata,cdrom/sata,cdrom/scsi",
    "pc": "disk/virtio,disk/scsi,disk/usb,disk/ide,cdrom/ide,cdrom/scsi",
}
IMPOSSIBLE_CASES = {
    "q35": "disk/ide,disk/fdc,cdrom/virtio",
    "pc": "disk/fdc,cdrom/virtio,floppy/usb",
}
#: Guests boot under software emulation, and two tests run at a time.
API_SECONDS = 300
BOOT_SECONDS = 300


def server_image(cloud: Connection, path: str, machine: str) -> str:
    """Return the id of the servers' image for a machine type; upload it if missing."""
    name = f"lab-{machine}-{Path(path).parent.name}"
    image = cloud.image.find_image(name) or cloud.image.create_image(
        name=name,
        filename=path,
        disk_format="qcow2",
        container_format="bare",
        visibility="public",
        hw_machine_type=machine,
    )
    return str(image.id)


def public_network(cloud: Connection) -> str:
    """Return the id of a network for floating IPs; create it and its router if missing.

    Return "" if Neutron has no routers. No agent makes the addresses work.
    """
    if not cloud.network.find_extension("router"):
        return ""
    public = cloud.network.find_network(PUBLIC)
    if not public:
        public = cloud.network.create_network(name=PUBLIC, is_router_external=True)
        cloud.network.create_subnet(
            name=PUBLIC,
            network_id=public.id,
            ip_version=4,
            cidr="203.0.113.0/24",
            is_dhcp_enabled=False,
        )
        router = cloud.network.create_router(
            name=PUBLIC, external_gateway_info={"network_id": public.id}
        )
        inner = cloud.network.find_subnet(NETWORK)
        # The subnet has no gateway, so the router needs a port with another address.
        port = cloud.network.create_port(
            network_id=inner.network_id, fixed_ips=[{"subnet_id": inner.id}]
        )
        cloud.network.add_interface_to_router(router, port_id=port.id)
    return str(public.id)


def sections(
    lab: Lab, cloud: Connection, machine: str, folder: Path, files: list[str]
) -> dict[str, dict[str, object]]:
    """Return the sections of tempest.conf."""
    original, disk, cdrom = files
    image = server_image(cloud, original, machine)
    flavors = [str(number + 1) for number in range(len(resources.FLAVORS))]
    small, full = flavors[0], flavors[1]
    public = public_network(cloud) if lab.options.network else ""
    types = [backend.volume_type for backend in volume_backends(lab)]
    return {
        "DEFAULT": {"log_file": folder / "tempest.log"},
        "oslo_concurrency": {"lock_path": folder / "lock"},
        "auth": {
            "admin_username": os.environ["OS_USERNAME"],
            "admin_password": os.environ["OS_PASSWORD"],
            "admin_project_name": os.environ["OS_PROJECT_NAME"],
            "admin_domain_name": os.environ["OS_USER_DOMAIN_NAME"],
            "use_dynamic_credentials": True,
            "create_isolated_networks": False,
        },
        "identity": {
            "uri_v3": os.environ["OS_AUTH_URL"],
            "auth_version": "v3",
            "region": REGION,
        },
        "service_available": {
            "cinder": bool(lab.options.backends),
            "horizon": False,
            "swift": False,
        },
        "compute": {
            "image_ref": image,
            "image_ref_alt": image,
            "flavor_ref": full,
            "flavor_ref_alt": small,
            "fixed_network_name": NETWORK,
            "max_microversion": "latest",
            "build_timeout": API_SECONDS,
        },
        "compute-feature-enabled": {
            "rescue": True,
            "stable_rescue": True,
            "ide_bus": machine == "pc",
        },
        "network": {
            "public_network_id": public,
            "floating_network_name": PUBLIC if public else "",
        },
        "network-feature-enabled": {"floating_ips": bool(public)},
        "volume": {"volume_size": 1, "build_timeout": API_SECONDS},
        "image": {"build_timeout": API_SECONDS},
        "validation": {"run_validation": False},
        "stable_rescue": {
            "disk_image": disk,
            "cdrom_image": cdrom,
            "read_guest_by": "console",
            "cases": CASES[machine],
            "impossible_cases": IMPOSSIBLE_CASES[machine],
            "volume_types": ",".join(types),
            "boot_timeout": BOOT_SECONDS,
        },
    }


def main(lab: Lab, machine: str, folder: Path, files: list[str]) -> None:
    """Write tempest.conf, for root only because it has the administrator's password."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_dict(sections(lab, openstack.connect(), machine, folder, files))
    path = folder / "tempest.conf"
    path.unlink(missing_ok=True)
    with open(path, "w", opener=private_opener) as file:
        parser.write(file)


if __name__ == "__main__":
    main(Lab.open(Path(sys.argv[1])), sys.argv[2], Path(sys.argv[3]), sys.argv[4:])
