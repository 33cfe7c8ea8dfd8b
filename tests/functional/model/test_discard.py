# SPDX-License-Identifier: Apache-2.0
"""Random sequences in which every stable rescue discards what it writes (E8).

Without its overlays, a rescued server has the disks of its original definition, so all
that must hold of an ordinary rescue must hold as well.
"""

from typing import Any

from stable_rescue.domain import overlays, recognize
from stable_rescue.domain.document import Domain
from tests.functional.model.test_life import RandomLife
from tests.functional.model.world import WorldTestBase
from tests.functional.overlays import DiscardingMixin


class DiscardingLifeTest(RandomLife, DiscardingMixin, WorldTestBase):
    seed, divisor = 5, 3

    def definition(self, server: dict[str, Any], flags: int = 0) -> str:
        """Return a definition without overlays, after a look at each of them."""
        definition = Domain.parse(super().definition(server, flags)).copy()
        rescue_disk = recognize.rescue_disk(definition)
        for disk in definition.disks():
            overlay = overlays.taken_off(disk)
            if overlay is not None:
                self.assertIn(overlay.path.rpartition("/")[2], self.files(server))
            elif rescue_disk is not None:
                self.assertIs(rescue_disk, disk, "a disk that would be written")
        return definition.to_xml()
