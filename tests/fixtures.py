# SPDX-License-Identifier: Apache-2.0
"""Fixtures that several test levels share."""

import sys
from pathlib import Path

import fixtures
from nova.conf import paths


class ApiPasteFixture(fixtures.Fixture):
    """Let Nova's tests find api-paste.ini where its wheel puts it.

    They look for it beside the package, as in a source checkout.
    """

    def _setUp(self) -> None:
        original = paths.state_path_def

        def state_path_def(*parts: str) -> str:
            installed = Path(sys.prefix, *parts)
            return str(installed) if installed.exists() else original(*parts)

        self.useFixture(
            fixtures.MonkeyPatch("nova.conf.paths.state_path_def", state_path_def)
        )
