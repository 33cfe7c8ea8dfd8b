# SPDX-License-Identifier: Apache-2.0
"""Parsing of definitions and media."""

import ddt
from oslotest import base

from stable_rescue import exception
from stable_rescue.domain import document
from stable_rescue.domain.document import Domain
from stable_rescue.domain.medium import Medium
from tests.unit.domain import samples

BOMB = (
    "<!DOCTYPE d [<!ENTITY a 'aaaaaaaaaa'>"
    + "".join(
        f"<!ENTITY {b} '{('&' + a + ';') * 10}'>"
        for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
    + "]><domain><name>&i;</name><uuid/><os><type>hvm</type></os><devices/></domain>"
)
FILE = (
    "<!DOCTYPE d [<!ENTITY x SYSTEM 'file:///etc/passwd'>]>"
    "<domain><name>&x;</name><uuid/><os><type>hvm</type></os><devices/></domain>"
)


@ddt.ddt
class DomainTest(base.BaseTestCase):
    @ddt.data(
        "",
        "no XML",
        "<domain>",
        "<domain/>",
        "<network><name>x</name></network>",
        "<domain><name>x</name><uuid>y</uuid><devices/></domain>",
        "<d>" * 300 + "</d>" * 300,
        BOMB,
        FILE,
        b"<domain>\xff\xfe</domain>",
        samples.read("pc").encode("utf-16"),
        samples.read("pc").encode("utf-32"),
        "<domain xmlns='urn:x'><name>x</name></domain>",
    )
    def test_text_that_is_not_a_domain_is_rejected(self, text: str | bytes) -> None:
        self.assertRaises(exception.InvalidDomain, Domain.parse, text)

    def test_text_over_the_limit_is_rejected(self) -> None:
        text = "<domain>" + " " * document.MAX_BYTES + "</domain>"
        error = self.assertRaises(exception.InvalidDomain, Domain.parse, text)
        self.assertIn("bytes of XML", str(error))

    def test_declared_encoding_is_ignored(self) -> None:
        text = samples.read("pc").replace(">web<", ">wéb<")
        declared = f"<?xml version='1.0' encoding='ISO-8859-1'?>{text}"
        self.assertEqual(*(Domain.parse(x).copy().to_xml() for x in (text, declared)))

    @ddt.data("pc", "q35")
    def test_parsed_definition_keeps_its_text(self, name: str) -> None:
        text = samples.read(name) + "<!-- trailing -->\n"
        for given in (text, text.encode()):
            self.assertEqual(text, Domain.parse(given).to_xml())

    def test_edit_of_a_copy_leaves_the_original_alone(self) -> None:
        original = samples.domain("pc")
        text = original.to_xml()
        samples.remove_disk(original.copy(), "vda")
        self.assertEqual(text, original.to_xml())

    @ddt.data("", "x", "-1", None)
    def test_invalid_number_is_rejected(self, text: str | None) -> None:
        self.assertRaises(exception.InvalidDomain, document.number, text, "an index")


@ddt.ddt
class MediumTest(base.BaseTestCase):
    @ddt.data("<disk/>", "<file><source/></file>")
    def test_text_that_is_not_a_disk_with_a_source_is_rejected(self, xml: str) -> None:
        self.assertRaises(exception.InvalidDomain, Medium(xml).element)

    def test_place_and_name_are_not_part_of_the_medium(self) -> None:
        disk = Medium(
            "<disk type='network' device='disk'><driver cache='none'/>"
            "<source protocol='rbd' name='vms/x'><host name='h'/></source>"
            "<target dev='vda' bus='virtio'/><boot order='1'/>"
            "<serial>1</serial><readonly/></disk>"
        ).element()
        self.assertEqual(["driver", "source"], [child.tag for child in disk])
        self.assertEqual("none", disk.find("driver").get("cache"))
