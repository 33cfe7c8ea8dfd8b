# SPDX-License-Identifier: Apache-2.0
"""The report of chaos: a table by victim and phase."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from lab.chaos.judge import Outcome, Verdict

_HEADINGS = ("victim", "phase", "runs", "outcomes", "lost", "leftovers", "seconds")


@dataclass(frozen=True)
class Entry:
    """One run: what was killed in which phase, the verdict, and how long it took.

    ``seconds`` is the time from the victim's restart until the server was idle.
    """

    victim: str
    phase: str
    verdict: Verdict
    seconds: float


def lost(entries: Iterable[Entry]) -> int:
    """Return how many runs lost a server."""
    return sum(entry.verdict.outcome is Outcome.LOST for entry in entries)


def leftovers(entries: Iterable[Entry]) -> int:
    """Return how many resources were left behind."""
    return sum(len(entry.verdict.leftovers) for entry in entries)


def lines(entries: Sequence[Entry]) -> Iterator[str]:
    """Yield the report: a row for each victim and phase, and one for all."""
    groups: dict[tuple[str, str], list[Entry]] = defaultdict(list)
    for entry in entries:
        groups[entry.victim, entry.phase].append(entry)
    rows = [_HEADINGS]
    rows += [_row(*key, group) for key, group in sorted(groups.items())]
    rows.append(_row("all", "", entries))
    widths = [max(len(row[n]) for row in rows) for n in range(len(_HEADINGS))]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()


def _row(victim: str, phase: str, entries: Sequence[Entry]) -> tuple[str, ...]:
    outcomes = Counter(entry.verdict.outcome.value for entry in entries)
    seconds = [entry.seconds for entry in entries]
    return (
        victim,
        phase,
        str(len(entries)),
        ", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items())),
        str(lost(entries)),
        str(leftovers(entries)),
        f"{min(seconds):.1f} to {max(seconds):.1f}" if seconds else "-",
    )
