# SPDX-License-Identifier: Apache-2.0
"""Service users, services and endpoints."""

from __future__ import annotations

import sys
from pathlib import Path

import openstack

from lab.config import REGION, Lab

#: type: (name, path below the API's root)
SERVICES = {
    "image": ("glance", ""),
    "placement": ("placement", ""),
    "compute": ("nova", "/v2.1"),
    "network": ("neutron", ""),
    "block-storage": ("cinder", "/v3"),
}


def main(lab: Lab) -> None:
    """Create what is missing."""
    identity = openstack.connect().identity
    roles = {role.name: role for role in identity.roles()}
    if "service" not in roles:  # bootstrap creates it in newer releases only
        roles["service"] = identity.create_role(name="service")
    project = identity.find_project("service") or identity.create_project(
        name="service", domain_id="default"
    )
    users = {user.name: user for user in identity.users()}
    services = {service.name: service for service in identity.services()}
    endpoints = {(each.service_id, each.interface) for each in identity.endpoints()}
    for kind, (name, path) in SERVICES.items():
        user = users.get(name) or identity.create_user(
            name=name,
            domain_id="default",
            password=lab.secret(f"user-{name}"),
            default_project_id=project.id,
        )
        # An earlier attempt may have made a user without its roles, for which Keystone
        # answers 401. The role service is for service tokens.
        for role in ("admin", "service"):
            identity.assign_project_role_to_user(project, user, roles[role])
        service = services.get(name) or identity.create_service(name=name, type=kind)
        for interface in ("public", "internal", "admin"):
            if (service.id, interface) not in endpoints:
                identity.create_endpoint(
                    service_id=service.id,
                    interface=interface,
                    url=lab.url(name) + path,
                    region_id=REGION,
                )


if __name__ == "__main__":
    main(Lab.open(Path(sys.argv[1])))
