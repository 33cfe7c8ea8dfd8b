# SPDX-License-Identifier: Apache-2.0
"""Measure what the periodic tasks read on the host, by the number of its instances.

Run it from the project's folder, with Nova: ``python -m benchmarks.periodic``. The task
that looks for stalled rescues asks libvirt and the database for this host's instances,
and looks for a record in the directory of each. The task for operators' requests looks
into one folder. Directories of other hosts on shared storage must cost nothing. The
sizes take turns, so that other load on the machine affects all of them alike.
"""

import argparse
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from nova import conf as nova_conf

from stable_rescue import conf
from stable_rescue.storage import requests, store

CONF = nova_conf.CONF
SIZES = (10, 100, 500, 5000)
#: How many instances this host has, if the others are of other hosts.
FEW = 10
#: One of this many instances is rescued.
RESCUED = 10
#: The fields of a sample: the search for records of all instances, for records of a few
#: instances, and for requests of operators.
KINDS = ("all", "few", "requests")


def make_instances(folder: Path, count: int) -> list[str]:
    """Make the directories of instances, some rescued; return their UUIDs."""
    uuids = [str(uuid.uuid4()) for _ in range(count)]
    for number, name in enumerate(uuids):
        (folder / name).mkdir(parents=True)
        for file in store.NAMES if number % RESCUED == 0 else ():
            (folder / name / file).touch()
    return uuids


def milliseconds(work: Callable[[], object]) -> float:
    """Return the CPU time of a call."""
    began = time.process_time()
    work()
    return (time.process_time() - began) * 1000


def measure(folder: Path, uuids: Sequence[str]) -> tuple[float, float, float]:
    """Return the time to find records: of all instances, of a few; and of requests."""
    CONF.set_override("instances_path", str(folder))
    return (
        milliseconds(lambda: store.with_record(uuids)),
        milliseconds(lambda: store.with_record(uuids[:FEW])),
        milliseconds(requests.waiting),
    )


def samples(rounds: int) -> list[dict[str, Any]]:
    """Return the CPU milliseconds of each round, a dictionary for each size."""
    conf.register_opts(CONF)
    with tempfile.TemporaryDirectory() as state:
        CONF.set_override("state_path", state)
        requests.begin()
        folders = {size: Path(state, f"instances-{size}") for size in SIZES}
        uuids = {size: make_instances(folders[size], size) for size in SIZES}
        times = [
            {size: measure(folders[size], uuids[size]) for size in SIZES}
            for _ in range(rounds)
        ]
    return [
        {
            "directories": size,
            **{
                name: [round(each[size][number], 3) for each in times]
                for number, name in enumerate(KINDS)
            },
        }
        for size in SIZES
    ]


def main() -> None:
    """Measure the sizes in turns and print the medians."""
    parser = argparse.ArgumentParser(description="Measure the periodic tasks.")
    parser.add_argument("--rounds", type=int, default=20, help="default: %(default)s")
    rows = samples(parser.parse_args().rounds)
    print("CPU milliseconds of a period (medians)")
    print(f"directories   all of this host   {FEW} of this host   requests")
    for row in rows:
        everything, few, asked = (statistics.median(row[name]) for name in KINDS)
        print(f"{row['directories']:11}{everything:19.2f}{few:18.2f}{asked:11.2f}")


if __name__ == "__main__":
    main()
