# SPDX-License-Identifier: Apache-2.0
"""Writes the manual's page on performance from the files of runs.

``doc/source/performance.json`` keeps the runs that the page shows, each with the rows
that no later run has measured again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import plot, results, tables
from benchmarks.catalog import BENCHMARKS
from benchmarks.report import Row

DOCS = Path(__file__).resolve().parent.parent / "doc" / "source"
RUNS = DOCS / "performance.json"
PAGE = DOCS / "performance.rst"
PLOTS = {
    operation: DOCS / f"performance-{operation}.svg" for operation in tables.STATUS
}

HEAD = """\
.. tools/bench --publish wrote this page; benchmarks/page.py has its text.

===========
Performance
===========

How long is a guest off while its server is rescued or unrescued, and what does stable
rescue cost a host? ``tools/bench`` measures this in the lab (:doc:`lab`): a complete
OpenStack with real libvirt and QEMU. Stable rescue and stock rescue take turns on the
same server (A B A B), so other load on the machine affects both alike. Compare the
ratios: a small machine with software emulation takes more seconds than others.

The *downtime* is the time between libvirt's event for the stop of the guest and its
event for the start of the next one. The *floor* is the downtime if libvirt alone
exchanges the same two guests: libvirt-python defines the other definition, destroys the
guest and creates it again. The guest's own shutdown, from its power button to the stop,
does not count as downtime and is in another table.

A guest is a boot sector that prints a line and shuts down when its power button is
pressed. A Linux that boots under emulation would take CPU time from what is measured.

Each figure is a median, followed by the worst measurement in parentheses.
The table at the end says how busy the machine was. A load above the number of its cores
makes all times longer, and the ratios less certain.
"""

REPEAT = """\
To repeat
=========

::

    tools/bench --list                     # benchmarks and their cases
    tools/bench --quick                    # everything, to see that it works
    tools/bench downtime --case "2 GiB"    # one case
    tools/bench                            # everything; takes hours on two cores

Run ``tools/bench`` as root on Debian 12, on a machine that does nothing else. A run
writes one JSON file below ``.lab/benchmarks``. ``tools/bench --publish FILE ...`` adds
files of runs to ``doc/source/performance.json``, and writes this page and its plots
anew. A row of a later run replaces the row of an earlier one.
"""

SECTIONS = (
    (
        "Promises",
        """\
The limits that this project sets itself. "Within noise": stable rescue counts as longer
only if its median is above the upper quartile of stock rescue, and the median of stock
rescue is below the lower quartile of stable rescue.
""",
        tables.promises,
    ),
    (
        "Downtime",
        """\
The image has 12 MB and the server no volume, unless the case says something else. The
images of 512 MB and 2 GiB are not in Nova's image cache, so that Nova fetches them for
each rescue. Volumes are in Ceph and in the stand-in for StorPool in turn. The 26 *slow*
volumes are in the stand-in alone, which then adds 0.5 seconds to each connection.
``raw`` and ``rbd`` are other values of Nova's ``images_type``.

.. figure:: performance-rescue.svg
   :alt: bars of the downtimes of rescues

   Rescue: median downtimes in seconds

.. figure:: performance-unrescue.svg
   :alt: bars of the downtimes of unrescues

   Unrescue: median downtimes in seconds

""",
        tables.downtime,
    ),
    (
        "Requests",
        """\
The time from the request to the status in the API, and the time that the guest takes
for its own shutdown. Stock unrescue destroys the rescue guest. Stable rescue shuts the
rescue guest down, so that it writes what it has repaired.
""",
        tables.requests,
    ),
    (
        "Many servers at once",
        """\
All servers get the request at the same time. Stable rescue exchanges as many guests at
a time as the host has cores, and the others run until it is their turn; guests that
have started boot on the same cores meanwhile. For the floor, libvirt alone exchanges
the guests one after the other, so that no two start at the same time. CPU time and
memory are ``nova-compute``'s alone, without the programs that it runs.
""",
        tables.crowd,
    ),
    (
        "A service that hangs",
        """\
``nova-conductor`` gets SIGSTOP as soon as libvirt reports the stop of the guest, and
SIGCONT ten seconds later. The server reaches its status after that.
""",
        tables.outage,
    ),
    (
        "A plan",
        """\
The CPU time and the memory of one plan by the number of disks. From some hundred disks
on, both are proportional to it.
""",
        tables.domain,
    ),
    (
        "Periodic tasks",
        """\
The CPU time of one period, by the number of instance directories in
``instances_path``, if all of them are of this host, and if ten are and the others are
of other hosts on shared storage. One of ten instances is rescued. The last column is
the search for requests of operators.
""",
        tables.periodic,
    ),
    (
        "The start of nova-compute",
        """\
From the start of the process until it serves its host, and its memory then.
""",
        tables.start,
    ),
)


def publish(files: Iterable[Path]) -> None:
    """Write the page, its plots and the file of its runs, with more runs.

    :raises ValueError: if a file is not a run
    """
    published = json.loads(RUNS.read_text()) if RUNS.exists() else []
    runs = merged([*published, *(results.load(file) for file in files)])
    RUNS.write_text(json.dumps(runs, indent=1) + "\n")
    PAGE.write_text(text(runs))
    for operation, file in PLOTS.items():
        file.write_text(plot.downtime(rows_of(runs), operation))


def merged(runs: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the runs without the rows that a later one has too."""
    kept: list[dict[str, Any]] = []
    known: set[tuple[str, str]] = set()
    for run in reversed(list(runs)):
        rows = [row for row in run["rows"] if _key(row) not in known]
        known |= {_key(row) for row in rows}
        if rows:
            kept.insert(0, {**run, "rows": rows})
    return kept


def rows_of(runs: Iterable[dict[str, Any]]) -> list[Row]:
    """Return all rows in the order of the catalog."""
    order = [
        (name, case)
        for name, benchmark in BENCHMARKS.items()
        for case in benchmark.cases
    ]
    rows = [row for run in runs for row in run["rows"] if _key(row) in order]
    return sorted(rows, key=lambda row: order.index(_key(row)))


def text(runs: Sequence[dict[str, Any]]) -> str:
    """Return the page."""
    rows = rows_of(runs)
    lines = [HEAD]
    for title, words, make in SECTIONS:
        lines += [title, "=" * len(title), "", words, *make(rows)]
    title = "Machine and versions"
    lines += [title, "=" * len(title), "", *_runs(runs), REPEAT]
    return "\n".join(lines)


def _runs(runs: Iterable[dict[str, Any]]) -> list[str]:
    """Return the table of the runs."""
    head = ("Run", "Machine", "Versions", "Rows, with the load before and after")
    lines = []
    for run in runs:
        machine, versions = run["machine"], run["versions"]
        cores = f"{machine['processor']}, {machine['cores']} cores"
        memory = f"{machine['memory_mib'] / 1024:.0f} GiB"
        loads = [
            f"{row['benchmark']} {row['case']}"
            f" ({row['began']['load'][0]:.1f}, {row['ended']['load'][0]:.1f})"
            for row in run["rows"]
        ]
        named = ", ".join(f"{name} {version}" for name, version in versions.items())
        time = run["began"]["time"][:16].replace("T", " ") + " UTC"
        lines.append([time, f"{cores}, {memory}", named, "; ".join(loads)])
    return tables.table(head, lines)


def _key(row: Row) -> tuple[str, str]:
    return row["benchmark"], row["case"]
