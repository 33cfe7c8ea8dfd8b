# SPDX-License-Identifier: Apache-2.0
"""The secrets in a definition are left out unless they are asked for."""

import re
import unittest

from lxml import etree

from stable_rescue.domain.document import Domain
from stable_rescue.domain.secrets import without_secrets
from tests.unit.domain import samples

GRAPHICS = "<graphics type='vnc' port='-1' passwd='sesame' listen='::'/>"
COOKIES = "<cookies><cookie name='id'>open</cookie></cookies>"
DISK = (
    "<disk type='network'><source protocol='http' name='iso'>"
    f"{COOKIES}<auth username='nova'><secret type='ceph' uuid='u'/></auth>"
    "</source></disk>"
)


class SecretsTest(unittest.TestCase):
    def test_passwords_and_cookies_are_left_out(self) -> None:
        text = samples.read("q35").replace("</devices>", f"{GRAPHICS}{DISK}</devices>")
        domain = Domain.parse(text)
        expected = re.sub(" passwd=(['\"]).*?\\1", "", text.replace(COOKIES, ""))
        self.assertEqual(2, text.count("passwd="))
        self.assertEqual(
            etree.canonicalize(expected),
            etree.canonicalize(without_secrets(domain).to_xml()),
        )
        self.assertEqual(text, domain.to_xml())

    def test_definition_without_secrets_is_returned_to_the_letter(self) -> None:
        domain = without_secrets(samples.parsed("q35"))
        self.assertIs(domain, without_secrets(domain))
