# SPDX-License-Identifier: Apache-2.0
"""What must hold of a server in each status, whatever has happened before."""

from pathlib import Path
from typing import TYPE_CHECKING

from nova.compute import power_state

from stable_rescue.domain import recognize, sources
from stable_rescue.domain.document import Domain
from stable_rescue.domain.layout import layout_of
from stable_rescue.storage.record import State

if TYPE_CHECKING:
    from tests.functional.model.world import WorldTestBase


def check(world: "WorldTestBase", status: str) -> None:
    """Assert that Nova, libvirt, the record, the files and the volumes agree."""
    if status == "DELETED":
        _check_deleted(world)
        return
    instance = world.instance()
    running = status != "SHUTOFF"
    world.assertIsNone(instance.task_state, "a task is left")
    if status == "ERROR":
        return  # an operator has set it, and knows what the guest is like
    expected = power_state.RUNNING if running else power_state.SHUTDOWN
    world.assertEqual(expected, instance.power_state, "power state in the database")
    world.assertEqual(
        running, bool(world.domain().isActive()), "power state in libvirt"
    )
    if status == "RESCUE":
        _check_rescued(world)
    else:
        _check_original(world, running)
    _check_volumes(world, running)


def _check_original(world: "WorldTestBase", running: bool) -> None:
    observed = world.observed()
    world.assertEqual([], observed["files"], "files")
    world.assertEqual(world.before["next"], observed["next"], "next definition")
    if running:
        world.assertEqual(world.before["live"], observed["live"], "live definition")


def _check_rescued(world: "WorldTestBase") -> None:
    for definition in (world.live_definition(), world.next_definition()):
        domain = Domain.parse(definition)
        world.assertTrue(recognize.is_rescue(domain), "a rescue definition")
    saved = (world.folder(world.server) / "unrescue.xml").read_text()
    original = Domain.parse(world.before["next"])
    world.assertEqual(
        layout_of(original),
        layout_of(Domain.parse(world.comparable(saved))),
        "unrescue.xml",
    )
    if world.rescue_disk() is None:
        return  # a stock rescue
    record = world.record()
    world.assertIs(State.RESCUED, record.state, "state of the record")
    world.assertEqual(
        layout_of(original),
        layout_of(Domain.parse(world.comparable(record.original_xml))),
        "original definition in the record",
    )
    rescued = layout_of(Domain.parse(world.comparable(world.live_definition())))
    for device, place in layout_of(original).items():
        world.assertEqual(place, rescued.get(device), f"{device} has moved")


def _check_volumes(world: "WorldTestBase", running: bool) -> None:
    attached = {
        volume
        for volume, attachments in world.attachments().items()
        if any(known["connector"] for known in attachments.values())
    }
    world.assertEqual(set(world.connections()), attached, "attachments in Cinder")
    is_rescue = recognize.is_rescue(Domain.parse(world.live_definition()))
    if is_rescue and world.rescue_disk() is None:
        return  # a stock rescue leaves the volumes out
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


def _check_deleted(world: "WorldTestBase") -> None:
    world.assertEqual({}, world.libvirt_connection()._vms, "domains")
    world.assertFalse(world.folder(world.server).exists(), "directory")
    world.assertEqual([], world.storage.connected(), "connected volumes")
    attached = [known for known in world.attachments().values() if known]
    world.assertEqual([], attached, "attachments in Cinder")
