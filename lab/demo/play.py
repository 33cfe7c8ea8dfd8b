# SPDX-License-Identifier: Apache-2.0
"""Plays a scene of the demo.

Arguments: the state folder, and the request as JSON.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from lab.config import Lab
from lab.demo.request import Request
from lab.demo.stage import Stage
from lab.servers.api import FAILURES


def main(words: Sequence[str]) -> int:
    """Play every case that is requested; return 0 if none has a fault."""
    lab, request = Lab.open(Path(words[0])), Request.from_json(words[1])
    name = request.scene.replace("-", "_")
    scene = importlib.import_module(f"lab.demo.scenes.{name}")
    verdicts = []
    for case in scene.cases(request):
        try:
            verdicts.append(scene.play(Stage(lab, request), case))
        except FAILURES as error:
            print(f"demo: {request.scene} {case}: {error}", file=sys.stderr)
            verdicts.append(False)
    if len(verdicts) > 1:
        print(f"\n{sum(verdicts)} of {len(verdicts)} cases without faults")
    return 0 if all(verdicts) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
