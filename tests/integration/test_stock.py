# SPDX-License-Identifier: Apache-2.0
"""Stock rescues, which Nova's driver defines, with a real libvirt and QEMU."""

from typing import Any
from unittest import mock

from stable_rescue.domain import recognize
from stable_rescue.domain.document import Domain
from tests.faults.assertions import RESCUED
from tests.integration.faults.server import FaultTestBase


class StockRescueTest(FaultTestBase):
    def setUp(self) -> None:
        super().setUp()
        self.compute.properties = {}

    def checksums(self) -> dict[str, str]:
        # Nova's driver notes the formats of the disks in this file.
        checksums = super().checksums()
        return {name: checksums[name] for name in checksums if name != "disk.info"}

    def act(self, action: str, **options: Any) -> str:
        """Do an action; return the output of nova-compute."""
        code, output = self.compute.act(action, **options)
        self.assertEqual("patch" not in options, code == 0, output[-6000:])
        return output

    def test_stock_rescue_is_ended_or_rolled_back(self) -> None:
        """In the rescue, the targets of the disks are others than before."""
        self.act("rescue")
        self.assertEqual(RESCUED, self.nova_state())
        rescue = Domain.parse(self.live_definition())
        self.assertTrue(recognize.is_rescue(rescue))
        self.assertIsNone(recognize.rescue_disk(rescue))
        self.server.domain.destroy()  # The host is rebooted.
        self.act("restart")
        self.assertEqual(RESCUED, self.nova_state())
        self.assertTrue(recognize.is_rescue(Domain.parse(self.live_definition())))
        self.act("unrescue")
        self.assert_restored()

        rejected = mock.patch(
            "nova.virt.libvirt.driver.LibvirtDriver._get_guest_xml",
            return_value="<domain/>",
        )
        self.act("rescue", patch=rejected)
        self.assert_restored()
