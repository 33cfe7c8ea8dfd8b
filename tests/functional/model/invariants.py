# SPDX-License-Identifier: Apache-2.0
"""What must hold of a server in each status, whatever has happened before."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from nova import objects
from nova.compute import power_state

from stable_rescue.domain import recognize, sources
from stable_rescue.domain.document import Domain
from stable_rescue.domain.layout import layout_of
from stable_rescue.storage.record import State

if TYPE_CHECKING:
    from tests.functional.model.world import WorldTestBase


def check(world: "WorldTestBase", status: str) -> None:
    """Assert that Nova, libvirt, the record, the files and the devices agree."""
    if status == "DELETED":
        _check_deleted(world)
        return
    instance = world.find(["info_cache", "metadata"])
    running = status not in ("SHUTOFF", "SOFT_DELETED")
    _check_writers(world)
    world.assertIsNone(instance.task_state, "a task is left")
    world.assertEqual(
        world.marks,
        {"locked": instance.locked, "metadata": instance.metadata},
        "what the operator has set",
    )
    if status == "ERROR":
        return  # an operator has set it, and knows what the guest is like
    if world.lacks_definition():
        return  # the next start or hard reboot defines the guest
    if not running and world.is_stopped_in_rescue():
        return
    world.is_damaged = world.is_damaged and not running
    expected = power_state.RUNNING if running else power_state.SHUTDOWN
    world.assertEqual(expected, instance.power_state, "power state in the database")
    world.assertEqual(
        running, bool(world.domain().isActive()), "power state in libvirt"
    )
    if status == "SOFT_DELETED":
        return  # a rescued server keeps its rescue definition until it is restored
    if status == "RESCUE":
        _check_rescued(world)
    else:
        _check_original(world, running)
    _check_volumes(world, running)
    _check_ports(world, instance)


def check_evacuated(world: "WorldTestBase") -> None:
    """Assert that nothing of a server is left on the host that it has left."""
    world.assertEqual({}, world.libvirt_connection()._vms, "domains")
    world.assertEqual([], world.storage.connected(), "connected volumes")
    world.assertFalse(world.folder(world.server).exists(), "directory")


def _check_writers(world: "WorldTestBase") -> None:
    """Assert that no disk is written by two guests."""
    written = [
        sources.path_of(disk)
        for domain in world.libvirt_connection()._vms.values()
        if domain.isActive()
        for disk in Domain.parse(domain.XMLDesc(0)).disks()
    ]
    world.assertEqual(len(set(written)), len(written), "guests that write a disk")


def _check_original(world: "WorldTestBase", running: bool) -> None:
    observed = world.observed()
    world.assertEqual([], observed["files"], "files")
    if world.before is None:
        # The devices have changed since. They are compared with Nova's below.
        world.before = observed
    world.assertEqual(world.before["next"], observed["next"], "next definition")
    if running:
        world.assertEqual(world.before["next"], observed["live"], "live definition")


def _check_rescued(world: "WorldTestBase") -> None:
    for definition in (world.live_definition(), world.next_definition()):
        domain = Domain.parse(definition)
        world.assertTrue(recognize.is_rescue(domain), "a rescue definition")
    record = world.record()
    saved_xml = (world.folder(world.server) / "unrescue.xml").read_text()
    if record is not None and recognize.is_rescue(Domain.parse(saved_xml)):
        # Nova's driver has rescued the server after a rescue that had failed (U8).
        saved_xml = record.original_xml
    saved = _comparable(world, saved_xml)
    if world.before is not None:
        original = _comparable(world, world.before["next"])
        world.assertEqual(original, saved, "unrescue.xml")
    if world.rescue_disk() is None:
        return  # a stock rescue
    world.assertIs(State.RESCUED, record.state, "state of the record")
    if world.before is not None:
        recorded = _comparable(world, record.original_xml)
        world.assertEqual(saved, recorded, "original definition in the record")
    rescued = _comparable(world, world.live_definition())
    for device, place in saved.items():
        # A device that was detached since is in neither definition after unrescue.
        if world.before is not None or device in rescued:
            world.assertEqual(place, rescued.get(device), f"{device} has moved")


def _comparable(world: "WorldTestBase", definition: str) -> Any:
    return layout_of(Domain.parse(world.comparable(definition)))


def _check_volumes(world: "WorldTestBase", running: bool) -> None:
    attached = {
        volume
        for volume, attachments in world.attachments().items()
        if any(known["connector"] for known in attachments.values())
    }
    world.assertEqual(set(world.connections()), attached, "attachments in Cinder")
    if _is_stock_rescue(world):
        return  # which leaves the volumes out
    for definition in (world.live_definition(), world.next_definition()):
        paths = (
            sources.path_of(disk) or "" for disk in Domain.parse(definition).disks()
        )
        folder = str(world.storage.folder)
        defined = {Path(path).name for path in paths if path.startswith(folder)}
        world.assertEqual(attached, defined, "volumes in the definition")
    if running:
        world.assertEqual(sorted(attached), world.storage.connected(), "connected")
        paths = set(world.devices().values())
        for volume in attached:
            path = str(world.storage.path(volume))
            world.assertIn(path, paths, "the path of a volume")


def _check_ports(world: "WorldTestBase", instance: objects.Instance) -> None:
    ports = sorted(world.ports().values())
    known = [port["address"] for port in instance.get_network_info()]
    world.assertEqual(ports, sorted(known), "ports that Nova knows")
    for definition in (world.live_definition(), world.next_definition()):
        addresses = [
            nic.find("mac").get("address")
            for nic in Domain.parse(definition).each_device("interface")
        ]
        world.assertEqual(ports, sorted(addresses), "ports in the definition")


def _is_stock_rescue(world: "WorldTestBase") -> bool:
    is_rescue = recognize.is_rescue(Domain.parse(world.live_definition()))
    return is_rescue and world.rescue_disk() is None


def _check_deleted(world: "WorldTestBase") -> None:
    world.assertEqual({}, world.libvirt_connection()._vms, "domains")
    world.assertFalse(world.folder(world.server).exists(), "directory")
    world.assertEqual([], world.storage.connected(), "connected volumes")
    attached = [known for known in world.attachments().values() if known]
    world.assertEqual([], attached, "attachments in Cinder")
    world.assertEqual({}, world.ports(), "ports in Neutron")
