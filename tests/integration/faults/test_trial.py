# SPDX-License-Identifier: Apache-2.0
"""A rescue definition that libvirt rejects is refused while the guest runs."""

import dataclasses
import re
from typing import Any
from unittest import mock

from stable_rescue import plan
from stable_rescue.domain.document import Domain
from tests.integration.faults.server import FaultTestBase

_MACHINE = re.compile("machine=['\"][^'\"]*['\"]")
_PCI_ADDRESS = re.compile("<address type=.pci.[^>]*/>")


class TrialTest(FaultTestBase):
    def check(self, pattern: re.Pattern[str], wrong: str) -> None:
        """Assert that an error in the rescue definition leads to a refusal.

        The derivation does not see the error, because it is put in afterwards.
        """
        derive = plan.derive

        def spoil(*args: Any, **options: Any) -> plan.RescuePlan:
            derived = derive(*args, **options)
            text = derived.rescue.to_xml()
            spoiled = pattern.sub(wrong, text)
            assert spoiled != text
            return dataclasses.replace(derived, rescue=Domain.parse(spoiled))

        number = self.server.domain.ID()
        code, output = self.compute.act(
            "rescue", patch=mock.patch.object(plan, "derive", spoil)
        )
        self.assertEqual(1, code, output[-3000:])
        self.assertIn("did not accept the rescue definition", output)
        self.assertEqual(number, self.server.domain.ID())
        self.assert_restored()

    def test_rescue_with_unknown_machine_type_is_refused(self) -> None:
        self.check(_MACHINE, "machine='pc-q35-0.1'")

    def test_rescue_with_duplicate_address_is_refused(self) -> None:
        self.check(
            _PCI_ADDRESS,
            "<address type='pci' domain='0x0000' bus='0x00' slot='0x1c' "
            "function='0x0'/>",
        )

    def test_refused_rescue_keeps_changes_for_the_next_start(self) -> None:
        """A running guest's next definition can differ from its live one (F26)."""
        changed = self.server.definition().replace(
            "<on_crash>destroy</on_crash>", "<on_crash>restart</on_crash>"
        )
        self.server.define(changed)
        self.before = self.observed()
        self.assertIn("<on_crash>restart", self.before["next"])
        self.check(_MACHINE, "machine='pc-q35-0.1'")
