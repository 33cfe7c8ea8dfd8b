# SPDX-License-Identifier: Apache-2.0
"""The memory of a server: its size, and whether a dump of it can be read."""

import ddt
from lxml import etree
from oslotest import base

from stable_rescue import exception, plan
from stable_rescue.domain import memory
from stable_rescue.domain.document import Domain
from tests.unit.domain import samples


def with_element(text: str) -> Domain:
    """Return a sample with an element instead of its <memory>, or besides it."""
    root = etree.fromstring(samples.parsed("q35").to_xml())
    element = etree.fromstring(text)
    old = root.find(element.tag)
    if old is not None:
        root.remove(old)
    root.append(element)
    return Domain.parse(etree.tostring(root, encoding="unicode"))


def planned(original: Domain, dump: bool) -> plan.RescuePlan:
    request = plan.RescueRequest("disk", "usb", dump=dump)
    return plan.derive(original, request, samples.MEDIA)


@ddt.ddt
class MemoryTest(base.BaseTestCase):
    @ddt.data(
        ("<memory unit='KiB'>262144</memory>", 2**28),
        ("<memory>262144</memory>", 2**28),
        ("<memory unit='MiB'>256</memory>", 2**28),
        ("<memory unit='GB'>2</memory>", 2 * 10**9),
    )
    @ddt.unpack
    def test_size_is_in_bytes(self, element: str, size: int) -> None:
        self.assertEqual(size, memory.size_of(with_element(element)))

    @ddt.data("<memory/>", "<memory unit='pages'>1</memory>", "<memory>x</memory>")
    def test_unknown_size_is_an_invalid_domain(self, element: str) -> None:
        self.assertRaises(
            exception.InvalidDomain, memory.size_of, with_element(element)
        )

    @ddt.data("sev", "sev-snp", "tdx", "s390-pv")
    def test_encrypted_memory_is_refused(self, kind: str) -> None:
        original = with_element(f"<launchSecurity type='{kind}'/>")
        with self.assertRaisesRegex(exception.Refused, rf"encrypted \({kind}\)"):
            planned(original, dump=True)

    def test_encrypted_memory_without_a_dump_is_no_problem(self) -> None:
        planned(with_element("<launchSecurity type='sev'/>"), dump=False)

    def test_dump_changes_no_definition_and_has_a_finding(self) -> None:
        original = with_element("<memory unit='MiB'>512</memory>")
        with_dump, without = planned(original, True), planned(original, False)
        self.assertEqual(without.rescue.to_xml(), with_dump.rescue.to_xml())
        (finding,) = set(with_dump.findings) - set(without.findings)
        self.assertIn("512 MiB of memory", finding)
