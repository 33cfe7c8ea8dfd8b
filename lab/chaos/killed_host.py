# SPDX-License-Identifier: Apache-2.0
"""A host dies while one of its servers is rescued, and the server is deleted meanwhile.

Without nova-compute, the API deletes a server in the database alone, so the files of
the rescue stay. ``stable-rescue clean`` has to find them, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from openstack.connection import Connection
from openstack.exceptions import raise_from_response

from lab.chaos.operator import Operator, exactly
from lab.chaos.server import ChaosServer
from lab.config import Lab
from lab.services.victims import Killer

NOVA_COMPUTE = "nova-compute"


def play(
    lab: Lab, server: ChaosServer, operator: Operator, killer: Killer
) -> Iterator[str]:
    """Kill the host of a server that is ACTIVE; yield what is wrong with ``clean``."""
    folder = Path(lab.data("nova/instances"), server.id)
    domain = server.show()["OS-EXT-SRV-ATTR:instance_name"]
    before = server.host.files(server.id)
    server.request("rescue")
    server.reach("RESCUE")
    added = {*server.host.files(server.id)} - before
    killer.kill(NOVA_COMPUTE, "killed-host")
    _force_down(server.cloud, True)
    try:
        server.host.virsh("destroy", domain)
        server.host.virsh("undefine", "--nvram", domain)
        listed = operator.call("list").output
        if server.id not in listed or '"no-domain"' not in listed:
            yield "list does not show the server that has lost its domain"
        instance = server.cloud.compute.get_server(server.id)
        server.cloud.compute.delete_server(instance)
        server.cloud.compute.wait_for_delete(instance)
        found = operator.leftovers()
        if not exactly(found, folder, added):
            yield f"clean lists {found}, but the rescue has left {sorted(added)}"
        if {each["action"] for each in found} != {"remove"}:
            yield f"clean would not remove everything: {found}"
        removed = operator.leftovers("--yes")
        if len(removed) != len(found) or operator.leftovers():
            yield f"clean --yes has removed {removed} only"
        left = {*server.host.files(server.id)}
        if left != before:
            yield f"clean --yes: {sorted(left ^ before)} differ from before the rescue"
    finally:
        _force_down(server.cloud, False)
        killer.revive(NOVA_COMPUTE)


def _force_down(cloud: Connection, down: bool) -> None:
    """Set that the host's nova-compute is down, or up, without waiting for Nova."""
    (service,) = _services(cloud)
    answer = cloud.compute.put(
        f"/os-services/{service['id']}", json={"forced_down": down}
    )
    raise_from_response(answer)


def _services(cloud: Connection) -> list[dict[str, Any]]:
    answer = cloud.compute.get(f"/os-services?binary={NOVA_COMPUTE}")
    raise_from_response(answer)
    return list(answer.json()["services"])
