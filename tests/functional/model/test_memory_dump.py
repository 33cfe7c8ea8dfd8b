# SPDX-License-Identifier: Apache-2.0
"""Random sequences in which each rescue of a running server dumps its memory.

A rescue of a server that is off would be refused, so its image asks for no dump.
"""

from typing import Any

from nova.tests.fixtures import libvirt

from tests.functional.memory import DumpingMixin
from tests.functional.model.test_life import RandomLife
from tests.functional.model.world import WorldTestBase


class DumpingLifeTest(RandomLife, DumpingMixin, WorldTestBase):
    seed, divisor = 6, 5

    def setUp(self) -> None:
        super().setUp()
        self.images = _Images(self)

    def observed(self) -> dict[str, Any]:
        """Also observe incomplete dumps, and whether the guest is paused."""
        observed = super().observed()
        state, _reason = observed.pop("state")
        return observed | {"paused": state == libvirt.VIR_DOMAIN_PAUSED}


class _Images(dict[str, str]):
    """The rescue images, of which one asks for a dump if the guest runs."""

    def __init__(self, test: DumpingLifeTest) -> None:
        super().__init__(test.images)
        self._test = test
        self._without_dump = test.create_rescue_image(hw_rescue_bus="usb")

    def __getitem__(self, name: str) -> str:
        if name == "rescue" and not self._runs():
            return self._without_dump
        return super().__getitem__(name)

    def _runs(self) -> bool:
        try:
            return bool(self._test.domain().isActive())
        except libvirt.libvirtError:
            return False  # an interrupted hard reboot has left no definition
