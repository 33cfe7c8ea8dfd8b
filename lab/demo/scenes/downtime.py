# SPDX-License-Identifier: Apache-2.0
"""How long a guest is off for a rescue and an unrescue, beside libvirt alone.

Cases are numbers of volumes. Times are between libvirt's events, so the guest's own
shutdown does not count. The floor is libvirt alone: the same two definitions,
destroyed, defined and started by virsh. Play this once for each ``--driver``.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

from lab.demo.lifecycle import Downtimes, downtimes
from lab.demo.request import Request
from lab.demo.server import DemoServer
from lab.demo.stage import Stage
from lab.servers.factory import image_disk

#: How often each is measured; the operations take turns.
ROUNDS = 5
#: Nova asks a guest to shut down for this long; the lab's guests react at once.
SHUTDOWN_TIMEOUT = "10"


def cases(request: Request) -> list[str]:
    """Return the numbers of volumes to play."""
    return ["0", "8"] if request.every_case else ["0"]


def play(stage: Stage, case: str) -> bool:
    """Measure, and print a table; times are never a fault."""
    times: dict[str, list[float]] = {}
    with stage.server(f"demo-downtime-{case}") as server:
        factory, images = server.factory, stage.images
        image = factory.image(
            images.original_qcow2,
            **stage.hardware(stage.request.machine),
            os_shutdown_timeout=SHUTDOWN_TIMEOUT,
        )
        rescue = factory.rescue_image(
            images.rescue("disk"), "disk", stage.request.bus or "virtio"
        )
        kinds = [
            factory.volume_types[number % len(factory.volume_types)]
            for number in range(int(case))
        ]
        volumes = factory.volumes(kinds)
        with server.booted_with(image_disk(image), volumes):
            server.inventory()
            stage.clock.say("server booted")
            domain = server.show().instance_name
            with downtimes(domain) as off:
                for number in range(ROUNDS):
                    _measure(server, domain, rescue, off, times)
                    stage.clock.say(f"round {number + 1} of {ROUNDS}")
    stage.head(f"seconds without a guest, {case} volumes, {ROUNDS} rounds")
    for line in table(times):
        print(line)
    return stage.verdict([])


def table(times: dict[str, list[float]]) -> list[str]:
    """Return the lines of the table: median and worst of each operation."""
    lines = [f"{'':<18}{'median':>8}{'worst':>8}{'of floor':>10}"]
    for name, seconds in times.items():
        median = statistics.median(seconds)
        floor = statistics.median(times.get(f"{name}, floor", seconds))
        lines.append(
            f"{name:<18}{median:>8.2f}{max(seconds):>8.2f}{median / floor:>10.2f}"
        )
    return lines


def _measure(
    server: DemoServer,
    domain: str,
    image: str,
    off: Downtimes,
    times: dict[str, list[float]],
) -> None:
    """Rescue and unrescue by the API, with libvirt alone in between."""

    def note(name: str) -> None:
        times.setdefault(name, []).append(off.next())

    original = _definition(server, domain)
    server.rescue(image)
    note("rescue")
    server.inventory()
    rescue = _definition(server, domain)
    for name, definition in (("unrescue", original), ("rescue", rescue)):
        _exchange(server, domain, definition)
        note(f"{name}, floor")
        # A guest that is destroyed while it prints leaves half an inventory.
        server.inventory()
    server.unrescue()
    note("unrescue")
    server.inventory()


def _definition(server: DemoServer, domain: str) -> str:
    return server.host.virsh("dumpxml", "--inactive", "--security-info", domain)


def _exchange(server: DemoServer, domain: str, definition: str) -> None:
    """Replace a guest by one with another definition, in one call of virsh."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "domain.xml")
        path.write_text(definition)
        server.host.virsh(f"destroy {domain}; define {path}; start {domain}")
