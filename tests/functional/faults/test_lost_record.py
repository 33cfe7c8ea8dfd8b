# SPDX-License-Identifier: Apache-2.0
"""Faults in the unrescue of a server of which nothing is left that says what it was.

Neither the record nor unrescue.xml is there: Nova builds the server from its database
(UPSTREAM U19). A fault leaves it rescued, or itself; never without a way to go on.
"""

from tests.functional.faults.scenario import CellsOfAllFaults, Scenario
from tests.functional.faults.servers import ServerOnLvm


class LostRecordTest(CellsOfAllFaults, ServerOnLvm, Scenario):
    action, running = "unrescue", True
    situation = "no record"
    own_steps = frozenset({"build and start a domain"})
    other_steps = frozenset({"power off", "remove LVM volumes"})

    def get_ready(self) -> None:
        super().get_ready()
        for name in ("stable_rescue.json", "unrescue.xml"):
            (self.folder(self.server) / name).unlink()

    def assert_original_saved(self) -> None:
        self.assertEqual([], self.files(self.server))
