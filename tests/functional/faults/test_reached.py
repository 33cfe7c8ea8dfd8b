# SPDX-License-Identifier: Apache-2.0
"""A step that is added has to come into the matrix."""

from stable_rescue import steps
from tests.functional.faults import test_lost_record
from tests.functional.faults.injection import step_of
from tests.functional.faults.servers import ServerOnLvm

#: The rows for steps that the server of test_matrix has no need of. Each sees to it
#: that it reaches them.
ROWS = (test_lost_record.LostRecordTest,)
ELSEWHERE = {
    "build the medium beside its place",
    "disconnect a volume",
    "keep the config drive to its owner",
    "make a volume's secret",
    "remove RBD images",
    "save a volume's connection",
    "update a volume's attachment",
}


class ReachedTest(ServerOnLvm):
    def test_each_step_is_reached(self) -> None:
        self.injection.arm()
        self.do("rescue", "RESCUE")
        self.do("unrescue", "ACTIVE")
        self.stop()
        self.do("rescue", "RESCUE")
        self.do("unrescue", "SHUTOFF")
        reached = {step_of(place) for place in self.injection.disarm()}
        others = ELSEWHERE.union(*(row.own_steps for row in ROWS))
        self.assertEqual(sorted({*steps.names()} - reached), sorted(others))
