# SPDX-License-Identifier: Apache-2.0
"""What libvirt itself refuses is refused while the guest runs, and nothing changes."""

import dataclasses
import re
from typing import Any
from unittest import mock

from stable_rescue import plan
from stable_rescue.domain.document import Domain
from tests.integration import base
from tests.integration.faults import server


class TrialTest(server.ServerTestBase):
    def refused(self, pattern: re.Pattern[str], wrong: str) -> None:
        """Have a rescue definition refused that our own checks do not see."""
        derive = plan.derive

        def spoil(*args: Any, **options: Any) -> plan.RescuePlan:
            found = derive(*args, **options)
            text = found.rescue.to_xml()
            spoiled = pattern.sub(wrong, text)
            assert spoiled != text
            return dataclasses.replace(found, rescue=Domain.parse(spoiled))

        number = self.server.domain.ID()
        code, said = self.compute.act(
            "rescue", patch=mock.patch.object(plan, "derive", spoil)
        )
        self.assertEqual(1, code, said[-3000:])
        self.assertIn("did not accept the rescue definition", said)
        self.assertEqual(number, self.server.domain.ID())
        self.assert_itself()

    def test_a_machine_that_there_is_not(self) -> None:
        self.refused(re.compile("machine=['\"][^'\"]*['\"]"), "machine='pc-q35-0.1'")

    def test_an_address_that_is_there_twice(self) -> None:
        same = (
            "<address type='pci' domain='0x0000' bus='0x00' slot='0x1c' "
            "function='0x0'/>"
        )
        self.refused(re.compile("<address type=.pci.[^>]*/>"), same)

    def test_what_was_changed_for_the_next_start_stays(self) -> None:
        """The definition of a running guest may be another than what it runs."""
        changed = base.definition(self.server.domain).replace(
            "<on_crash>destroy</on_crash>", "<on_crash>restart</on_crash>"
        )
        self.server.define(changed)
        self.before = self.observed()
        self.assertIn("<on_crash>restart", self.before["definition"])
        self.refused(re.compile("machine=['\"][^'\"]*['\"]"), "machine='pc-q35-0.1'")
