# SPDX-License-Identifier: Apache-2.0
"""How long a guest is off for a rescue and an unrescue, and how long a request takes.

Stable rescue and stock rescue take turns on one server. The floor is measured in
rounds of stable rescue, with the same two definitions.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.cloud import floor, images
from benchmarks.cloud.operation import OUTCOMES, Sample, Subject, no_samples
from benchmarks.cloud.stage import Stage, blocks
from lab.demo.server import DemoServer
from lab.servers.events import Events, listening
from lab.servers.factory import ServerFactory, image_disk
from lab.storpool.array import CONNECT_DELAY


@dataclass(frozen=True)
class Case:
    """A case: by default a server without volumes, rescued with a small image.

    A small image is in Nova's cache; others are fetched for each rescue.
    """

    mebibytes: int = images.SMALL  # of the rescue image
    volumes: int = 0
    connect_delay: float = 0.0  # seconds added to each connection of a volume
    images_type: str | None = None


#: As many volumes are in the stand-in for StorPool alone.
MANY = 26
CASES = {
    "12 MB": Case(),
    "512 MB": Case(mebibytes=512),
    "2 GiB": Case(mebibytes=2048),
    "8 volumes": Case(volumes=8),
    "26 volumes": Case(volumes=26),
    "26 slow volumes": Case(volumes=26, connect_delay=0.5),
    "raw": Case(images_type="raw"),
    "rbd": Case(images_type="rbd"),
}


def measure(stage: Stage, names: Sequence[str]) -> None:
    """Measure cases and save the samples: by operation, then by driver or "floor"."""
    for images_type in dict.fromkeys(CASES[name].images_type for name in names):
        stage.images_type = images_type or stage.lab.options.images_type
        group = [name for name in names if CASES[name].images_type == images_type]
        with contextlib.ExitStack() as cleanup:
            cleanup.enter_context(stage.driver_of_lab())
            stage.use("stable")
            measure_group(stage, group, cleanup)


def measure_group(
    stage: Stage, names: Sequence[str], cleanup: contextlib.ExitStack
) -> None:
    """Measure cases that need the same configuration of nova-compute.

    The cases share the starts of nova-compute and the rounds that are not counted. A
    case that fails is left out from then on.

    :param cleanup: gets the callbacks that delete images, volumes and servers
    """
    events = cleanup.enter_context(listening())
    factory = stage.factory(cleanup, "bench-downtime")
    original = stage.original_image(factory)
    subjects: dict[int, Subject] = {}
    series = []
    for name in names:
        case = CASES[name]
        with stage.reporting_failure("downtime", name):
            if case.volumes not in subjects:
                subjects[case.volumes] = boot(
                    stage, factory, cleanup, events, original, case.volumes
                )
            rescue = stage.rescue_image(factory, case.mebibytes)
            series.append(Series(stage, name, subjects[case.volumes], rescue))
    for driver, rounds in blocks(stage.rounds):
        stage.use(driver)
        for each in series:
            # Not counted: modules and privileged helpers are loaded at the first use.
            with stage.reporting_failure("downtime", each.name):
                each.round(driver, counted=False)
                break
        for each in tuple(series):
            with stage.reporting_failure("downtime", each.name) as outcome:
                for _number in range(rounds):
                    each.round(driver)
                each.save()
            if outcome.failed:
                series.remove(each)


def boot(
    stage: Stage,
    factory: ServerFactory,
    cleanup: contextlib.ExitStack,
    events: Events,
    image: str,
    count: int,
) -> Subject:
    """Boot a server with some volumes; ``cleanup`` deletes it.

    Volumes are in both backends in turn. Many are in the stand-in for StorPool alone,
    which can be slow.
    """
    types = factory.volume_types if count < MANY else ["storpool"]
    volumes = factory.volumes(types[number % len(types)] for number in range(count))
    server = DemoServer(factory)
    cleanup.enter_context(server.booted_with(image_disk(image), volumes))
    subject = stage.subject(events, server.server)
    subject.wait_for_boot("original")
    stage.clock.say(f"a server with {count} volumes has booted")
    return subject


class Series:
    """The rounds of one case."""

    def __init__(self, stage: Stage, name: str, subject: Subject, image: str) -> None:
        self.stage, self.name, self.subject, self.image = stage, name, subject, image
        self.case = CASES[name]
        self.results = no_samples("stable", "stock", "floor")

    def round(self, driver: str, *, counted: bool = True) -> None:
        """Rescue and unrescue with the driver that nova-compute has; keep the samples.

        :raises LabError: if the server does not reach a status
        """
        if self.case.mebibytes != images.SMALL:
            images.forget(self.stage.lab, self.image)
        number = len(self.results["rescue"][driver])
        # Every second round is enough for the floor, and spares two boots.
        with_floor = counted and driver == "stable" and number % 2 == 0
        with slow_connections(self.stage, self.case.connect_delay):
            samples = one_round(self.subject, self.image, with_floor=with_floor)
        if counted:
            for (operation, what), sample in samples.items():
                self.results[operation][what or driver].append(
                    dataclasses.asdict(sample)
                )
        words = ", ".join(
            f"{operation} {what or driver} {sample.downtime:.2f} s"
            for (operation, what), sample in samples.items()
        )
        self.stage.clock.say(
            f"{self.name}: {words}" + ("" if counted else " (warm-up)")
        )

    def save(self) -> None:
        """Save the samples if all drivers have some."""
        if self.results["rescue"]["stock"]:
            self.stage.save(self.name, self.results)


@contextlib.contextmanager
def slow_connections(stage: Stage, seconds: float) -> Iterator[None]:
    """Make the stand-in array add seconds to each connection in the block."""
    file = stage.lab.data("storpool") / CONNECT_DELAY
    file.write_text(str(seconds))
    try:
        yield
    finally:
        file.unlink()


def one_round(
    subject: Subject, rescue: str, *, with_floor: bool
) -> dict[tuple[str, str], Sample]:
    """Rescue and unrescue; return the samples by operation and "floor" or ""."""
    samples = {}
    original_xml = floor.definition(subject.domain)
    samples["rescue", ""] = subject.operate("rescue", rescue)
    if with_floor:
        rescue_xml = floor.definition(subject.domain)
        for operation, definition in (
            ("unrescue", original_xml),
            ("rescue", rescue_xml),
        ):
            samples[operation, "floor"] = floor.exchange(subject, definition)
            subject.wait_for_boot(OUTCOMES[operation][1])
    samples["unrescue", ""] = subject.operate("unrescue")
    return samples
