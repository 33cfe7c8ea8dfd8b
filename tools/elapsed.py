# SPDX-License-Identifier: Apache-2.0
"""The lab's clock, for programs in this folder.

Python finds only this folder when it runs one of them. The lab needs the standard
library alone for its clock.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

sys.path.append(str(ROOT))

from lab.clock import Clock  # noqa: E402

__all__ = ["Clock"]
