# SPDX-License-Identifier: Apache-2.0
"""What became of the fault matrix: counted by the tests, told behind them.

python -m tests.tally start|tell FOLDER
"""

import json
import os
import shutil
import sys
from collections import Counter, defaultdict
from pathlib import Path

FOLDER = "STABLE_RESCUE_TALLY"
#: A point, and how often it had been reached when a fault strikes.
Place = tuple[str, int]


def step_of(place: Place) -> str:
    """Return the name of the step that a place belongs to."""
    return place[0].removeprefix("before ").removeprefix("after ")


def count(row: str, fault: str, place: Place, recovered: bool) -> None:
    """Note one cell of the matrix, where the environment says where to."""
    if folder := os.environ.get(FOLDER):
        Path(folder).mkdir(parents=True, exist_ok=True)
        cell = {"row": row, "fault": fault, "place": place, "recovered": recovered}
        with Path(folder, f"{os.getpid()}.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(cell) + "\n")


def tell(folder: Path) -> int:
    """Print the table; return what is to be the exit code."""
    cells = [
        json.loads(line)
        for path in sorted(folder.glob("*.jsonl"))
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    rows: dict[str, Counter[str]] = defaultdict(Counter)
    for cell in cells:
        rows[cell["row"]][cell["fault"]] += 1
    faults = sorted({cell["fault"] for cell in cells})
    title = "fault matrix: points x faults"
    width = max(map(len, [title, *rows])) + 2
    print(title.ljust(width), *(f"{f:>14}" for f in faults))
    for row in sorted(rows):
        print(row.ljust(width), *(f"{rows[row][fault]:>14}" for fault in faults))
    lost = [cell for cell in cells if not cell["recovered"]]
    for cell in lost:
        print("LOST:", cell["row"], "|", cell["fault"], "|", *cell["place"])
    print(
        f"fault matrix: {len(cells)} tried, {len(cells) - len(lost)} recovered, "
        f"{len(lost)} lost"
    )
    return 1 if lost else 0


if __name__ == "__main__":
    if sys.argv[1] == "start":
        shutil.rmtree(sys.argv[2], ignore_errors=True)
    else:
        sys.exit(tell(Path(sys.argv[2])))
