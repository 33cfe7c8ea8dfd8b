# SPDX-License-Identifier: Apache-2.0
"""A step that is added has to come into the matrix."""

from stable_rescue import steps
from tests.functional.faults import test_lost_record, test_media, test_rebooted_host
from tests.functional.faults.servers import ServerOnLvm
from tests.tally import step_of

#: The rows for steps that the server of test_matrix has no need of. Each sees to it
#: that it reaches them.
ROWS = (
    test_lost_record.LostRecordTest,
    test_media.FilesTest,
    test_media.RescueOnRbdTest,
    test_rebooted_host.RescueTest,
    test_rebooted_host.SecretTest,
    test_rebooted_host.UndoTest,
)


class ReachedTest(ServerOnLvm):
    def test_each_step_is_reached(self) -> None:
        self.injection.arm()
        self.do("rescue", "RESCUE")
        self.do("unrescue", "ACTIVE")
        self._stop_server(self.server)
        self.do("rescue", "RESCUE")
        self.do("unrescue", "SHUTOFF")
        reached = {step_of(place) for place in self.injection.disarm()}
        others = frozenset().union(*(row.own_steps for row in ROWS))
        self.assertEqual(sorted({*steps.names()} - reached), sorted(others))
