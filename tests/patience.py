# SPDX-License-Identifier: Apache-2.0

"""Waiting for a server longer than Nova's own helpers do, and looking more often."""

import time
from typing import Any
from unittest import mock

from nova.tests.functional import integrated_helpers

RETRIES = 120  # half a second each
LOOKS = 5  # in each of them, which is most of what many a test would take


def _nap(seconds: float) -> None:
    time.sleep(seconds / LOOKS)


class PatientMixin:
    """Goes before Nova's functional test case, which gives a server five seconds.

    That is little on a busy machine. Where all is well nothing takes longer.
    """

    def _wait_for_server_parameter(
        self,
        server: dict[str, Any],
        expected_params: dict[str, Any],
        max_retries: int = RETRIES,
        *args: Any,
        **options: Any,
    ) -> dict[str, Any]:
        retries = LOOKS * max(max_retries, RETRIES)
        with mock.patch.object(integrated_helpers, "time", mock.Mock(sleep=_nap)):
            return super()._wait_for_server_parameter(
                server, expected_params, retries, *args, **options
            )
