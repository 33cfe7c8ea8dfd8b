# SPDX-License-Identifier: Apache-2.0
"""The table of the fault matrix: the tests count cells, this prints them afterwards.

python -m tests.tally start|report FOLDER
"""

import json
import os
import shutil
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from tests.faults.places import Place

#: The environment variable that names the folder of the counts.
FOLDER = "STABLE_RESCUE_TALLY"


def count(row: str, fault: str, place: Place, recovered: bool) -> None:
    """Count one cell of the matrix if the environment names a folder for it."""
    if folder := os.environ.get(FOLDER):
        Path(folder).mkdir(parents=True, exist_ok=True)
        cell = {"row": row, "fault": fault, "place": place, "recovered": recovered}
        with Path(folder, f"{os.getpid()}.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(cell) + "\n")


def count_model(sequences: int, steps: int, faults: int) -> None:
    """Count what a test of the model has done, like a cell of the matrix."""
    if folder := os.environ.get(FOLDER):
        Path(folder).mkdir(parents=True, exist_ok=True)
        with Path(folder, "model.json").open("a", encoding="utf-8") as file:
            file.write(json.dumps([sequences, steps, faults]) + "\n")


def count_race(first: str, second: str, place: Place, outcome: str) -> None:
    """Count a race of two operations; the outcome is fine, refused or wrong."""
    if folder := os.environ.get(FOLDER):
        Path(folder).mkdir(parents=True, exist_ok=True)
        race = {"first": first, "second": second, "place": place, "outcome": outcome}
        with Path(folder, "races.json").open("a", encoding="utf-8") as file:
            file.write(json.dumps(race) + "\n")


def report(folder: Path) -> int:
    """Print the table and the cells that are lost; return 1 if there are any."""
    cells = [
        json.loads(line)
        for path in sorted(folder.glob("*.jsonl"))
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    _print_table(cells)
    lost = [cell for cell in cells if not cell["recovered"]]
    for cell in lost:
        print("LOST:", cell["row"], "|", cell["fault"], "|", *cell["place"])
    print(
        f"fault matrix: {len(cells)} tried, {len(cells) - len(lost)} recovered, "
        f"{len(lost)} lost"
    )
    is_wrong = _print_races(folder)
    _print_model(folder)
    return 1 if lost or is_wrong else 0


def _print_races(folder: Path) -> bool:
    """Print the table of races; return True if any of them is wrong."""
    file = folder / "races.json"
    if not file.exists():
        return False
    races = [json.loads(line) for line in file.read_text().splitlines()]
    counts: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for race in races:
        counts[race["first"], race["second"]][race["outcome"]] += 1
    outcomes = ("fine", "refused", "wrong")
    title = "races: pairs x points"
    print(title.ljust(50), *(f"{outcome:>9}" for outcome in outcomes))
    for pair in sorted(counts):
        numbers = (counts[pair][outcome] for outcome in outcomes)
        print(" x ".join(pair).ljust(50), *(f"{number:>9}" for number in numbers))
    wrong = [race for race in races if race["outcome"] == "wrong"]
    for race in wrong:
        print("WRONG:", race["first"], "|", race["second"], "|", *race["place"])
    print(f"races: {len(races)} at {len(counts)} pairs, {len(wrong)} wrong")
    return bool(wrong)


def _print_model(folder: Path) -> None:
    file = folder / "model.json"
    if file.exists():
        counts = [json.loads(line) for line in file.read_text().splitlines()]
        sequences, steps, faults = map(sum, zip(*counts, strict=True))
        print(f"model: {sequences} sequences, {steps} steps, {faults} faults")


def _print_table(cells: list[dict[str, Any]]) -> None:
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for cell in cells:
        counts[cell["row"]][cell["fault"]] += 1
    faults = sorted({cell["fault"] for cell in cells})
    title = "fault matrix: places x faults"
    width = max(map(len, [title, *counts])) + 2
    print(title.ljust(width), *(f"{fault:>14}" for fault in faults))
    for row in sorted(counts):
        print(row.ljust(width), *(f"{counts[row][fault]:>14}" for fault in faults))


if __name__ == "__main__":
    if sys.argv[1] == "start":
        shutil.rmtree(sys.argv[2], ignore_errors=True)
    else:
        sys.exit(report(Path(sys.argv[2])))
