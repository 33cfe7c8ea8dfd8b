# SPDX-License-Identifier: Apache-2.0

"""Waiting for a server longer than Nova's own helpers do."""

from typing import Any

RETRIES = 120  # half a second each


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
        return super()._wait_for_server_parameter(
            server, expected_params, max(max_retries, RETRIES), *args, **options
        )
