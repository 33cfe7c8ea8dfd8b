# SPDX-License-Identifier: Apache-2.0
"""Faults in the unrescue of a server whose record and unrescue.xml are both lost.

Nova builds its definition from the database (U19). After a fault the server is rescued
or restored, so a user can always go on.
"""

from tests.faults.engine import EveryFault
from tests.functional.faults.base import RowTestBase
from tests.functional.faults.servers import ServerOnLvm
from tests.functional.faults.snapshot import FromSnapshot


class LostRecordTest(EveryFault, FromSnapshot, ServerOnLvm, RowTestBase):
    action, running = "unrescue", True
    situation = "no record"
    unique_steps = frozenset({"build and start a domain"})
    other_steps = frozenset({"power off", "remove LVM volumes"})

    def get_ready(self) -> None:
        super().get_ready()
        for name in ("stable_rescue.json", "unrescue.xml"):
            (self.folder(self.server) / name).unlink()

    def assert_original_saved(self) -> None:
        """Assert that the lost files are not made again."""
        self.assertEqual([], self.files(self.server))
