# SPDX-License-Identifier: Apache-2.0

"""Wait for a server longer than Nova's test helpers do, and poll more often."""

import time
from typing import Any
from unittest import mock

from nova.tests.functional import integrated_helpers

#: How often Nova's helpers poll at least; they sleep half a second after each time.
RETRIES = 120
#: How often to poll in each of these half seconds. Most tests only wait for polls.
POLLS = 5
#: How long to wait for the answer to an RPC call, in seconds. An action of Nova's API
#: is one in these tests. The time limit of a test ends it earlier.
RPC_SECONDS = 600


def _sleep_less(seconds: float) -> None:
    time.sleep(seconds / POLLS)


class PatientMixin:
    """Makes a functional test case wait a minute for a server instead of five seconds.

    Put it before Nova's test case in the list of bases. On a busy machine, five seconds
    are too short, as is Nova's minute for the answer to an RPC call. Tests that pass
    take no longer because of it.
    """

    def setUp(self) -> None:
        super().setUp()
        self.flags(rpc_response_timeout=RPC_SECONDS)

    def _wait_for_server_parameter(
        self,
        server: dict[str, Any],
        expected_params: dict[str, Any],
        max_retries: int = RETRIES,
        *args: Any,
        **options: Any,
    ) -> dict[str, Any]:
        retries = POLLS * max(max_retries, RETRIES)
        faster = mock.Mock(sleep=_sleep_less)
        with mock.patch.object(integrated_helpers, "time", faster):
            return super()._wait_for_server_parameter(
                server, expected_params, retries, *args, **options
            )
