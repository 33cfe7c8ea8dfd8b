# SPDX-License-Identifier: Apache-2.0
"""The rows of the matrix reach every step: a new step needs a row that reaches it."""

from stable_rescue import steps
from tests.faults.places import step_of
from tests.functional.faults import (
    test_discard,
    test_lost_record,
    test_media,
    test_memory_dump,
    test_rebooted_host,
    test_stock,
)
from tests.functional.faults.servers import ServerOnLvm

#: The rows for the steps that the server of test_matrix does not need. Each row
#: asserts that it reaches its unique steps.
ROWS = (
    test_discard.DiscardTest,
    test_lost_record.LostRecordTest,
    test_media.FilesTest,
    test_media.RescueOnRbdTest,
    test_memory_dump.DumpTest,
    test_memory_dump.RollbackTest,
    test_rebooted_host.RescueTest,
    test_rebooted_host.SecretTest,
    test_rebooted_host.RollbackTest,
    test_stock.StockRescueTest,
)


class ReachedTest(ServerOnLvm):
    def request_and_wait(self, action: str, status: str) -> None:
        self.request(action)
        self.assertIsNone(self.error)
        self.assert_status(status)

    def test_rows_of_the_matrix_reach_every_step(self) -> None:
        self.injection.arm()
        self.request_and_wait("rescue", "RESCUE")
        self.request_and_wait("unrescue", "ACTIVE")
        self._stop_server(self.server)
        self.request_and_wait("rescue", "RESCUE")
        self.request_and_wait("unrescue", "SHUTOFF")
        reached = {step_of(place) for place in self.injection.disarm()}
        others = frozenset().union(*(row.unique_steps for row in ROWS))
        self.assertEqual(sorted({*steps.names()} - reached), sorted(others))
