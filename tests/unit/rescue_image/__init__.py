# SPDX-License-Identifier: Apache-2.0
"""The commands in the rescue image, and the tool that builds it."""

import sys
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).resolve().parents[3]
FILES = ROOT / "rescue-image" / "files"
_PATHS = (FILES / "usr/lib/python3/dist-packages", ROOT / "tools")

with mock.patch.object(sys, "path", [*map(str, _PATHS), *sys.path]):
    import elapsed  # noqa: F401
    import rescue_images.boot
    import rescue_images.build
    import rescue_images.check
    import rescue_images.upload  # noqa: F401
    import rescue_tools.boot
    import rescue_tools.greeting
    import rescue_tools.login
    import rescue_tools.report  # noqa: F401
