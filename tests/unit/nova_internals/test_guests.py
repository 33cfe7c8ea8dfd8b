# SPDX-License-Identifier: Apache-2.0
"""What libvirt gets from Nova's guests."""

from types import SimpleNamespace
from unittest import mock

from oslotest import base

from stable_rescue import nova_internals

STATS = {"block.count": 0}


class BlockStatsTest(base.BaseTestCase):
    def test_libvirt_gets_the_domain_that_eventlet_has_wrapped(self) -> None:
        inner = SimpleNamespace()
        for domain in (inner, SimpleNamespace(_obj=inner)):
            driver = mock.Mock()
            driver._host.get_guest.return_value._domain = domain
            get_stats = driver._host.get_connection.return_value.domainListGetStats
            get_stats.return_value = [(inner, STATS)]
            stats = nova_internals.block_stats(driver, mock.sentinel.instance)
            self.assertEqual(STATS, stats)
            self.assertEqual([inner], get_stats.call_args.args[0])
