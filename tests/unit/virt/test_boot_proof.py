# SPDX-License-Identifier: Apache-2.0
"""A boot is decided for the rescue that it belongs to, and for no later one."""

from typing import Any
from unittest import mock

import fixtures
from oslotest import base

from stable_rescue.virt import boot_proof
from tests.unit.domain import samples

_READ_BY_A_BOOT = 12 * 2**20


class EndedRescueTest(base.BaseTestCase):
    def setUp(self) -> None:
        super().setUp()
        options = mock.Mock(stable_rescue=mock.Mock(verify_timeout=60))
        self.useFixture(fixtures.MockPatchObject(boot_proof, "CONF", options))
        self.reports = self.useFixture(
            fixtures.MockPatchObject(boot_proof, "report_later")
        ).mock
        self.instance = mock.Mock(uuid="u")
        self.driver = mock.Mock()
        self.boots = boot_proof.BootWatch(self.driver)
        # Each test looks at the guests itself.
        self.useFixture(fixtures.MockPatchObject(self.boots, "_workers"))
        self.rescue_xml = samples.derive(
            samples.parsed("pc"), bus="usb"
        ).rescue.to_xml()

    def begin(self) -> Any:
        """Begin a rescue; return its boot."""
        self.boots.begin(mock.sentinel.context, self.instance, self.rescue_xml)
        return self.boots._boots["u"]

    def test_result_of_an_ended_rescue_is_not_the_next_ones(self) -> None:
        first = self.begin()

        def begin_again(*_: Any) -> list[int]:
            self.boots.end(self.instance)
            self.begin()
            return [1, _READ_BY_A_BOOT, 0, 0, 0]

        self.driver.block_stats.side_effect = begin_again
        self.boots._look(first)
        self.reports.assert_not_called()
        second = self.boots._boots["u"]
        self.assertIsNot(first, second)

        self.driver.block_stats.side_effect = None
        self.driver.block_stats.return_value = [1, _READ_BY_A_BOOT, 0, 0, 0]
        self.boots._look(second)
        self.reports.assert_called_once()
        self.assertEqual({}, self.boots._boots)
