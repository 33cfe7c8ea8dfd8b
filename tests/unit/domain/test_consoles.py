# SPDX-License-Identifier: Apache-2.0
"""The ports of serial consoles in a definition (U21)."""

from oslotest import base

from stable_rescue.domain import consoles
from stable_rescue.domain.document import Domain
from tests.unit.domain import samples

# libvirt describes the first serial console once more, as a console.
CONSOLES = """
    <serial type='tcp'>
      <source mode='bind' host='127.0.0.1' service='10000'/>
      <log file='/nonexistent/console.log' append='off'/>
    </serial>
    <serial type='tcp'>
      <source mode='bind' host='127.0.0.1' service='10001'/>
    </serial>
    <serial type='tcp'>
      <source mode='connect' host='127.0.0.1' service='10000'/>
    </serial>
    <serial type='pty'/>
    <console type='tcp'>
      <source mode='bind' host='127.0.0.1' service='10000'/>
    </console>
  </devices>"""


class ConsolesTest(base.BaseTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.xml = samples.read("pc").replace("</devices>", CONSOLES)
        self.domain = Domain.parse(self.xml)

    def test_each_port_that_is_listened_on_is_returned_once(self) -> None:
        self.assertEqual(
            [("127.0.0.1", 10000), ("127.0.0.1", 10001)], consoles.ports(self.domain)
        )

    def test_only_the_moved_port_changes(self) -> None:
        moved = consoles.with_ports(self.domain, {("127.0.0.1", 10000): 10007})
        self.assertEqual(
            [("127.0.0.1", 10007), ("127.0.0.1", 10001)], consoles.ports(moved)
        )
        listens = 'mode="bind" host="127.0.0.1" service='
        self.assertEqual(2, moved.to_xml().count(f'{listens}"10007"'))
        self.assertEqual(
            self.domain.copy().to_xml(),
            moved.to_xml().replace(f'{listens}"10007"', f'{listens}"10000"'),
        )
