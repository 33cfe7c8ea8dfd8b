# SPDX-License-Identifier: Apache-2.0
"""The domain document: a hardened parser and the few lookups that edits need."""

import copy
from collections.abc import Iterator

from lxml import etree

from stable_rescue import exception

# A domain of 1,000 devices has under 1 MiB and 10,000 elements. libvirt itself moves
# no text over 4 MiB (REMOTE_STRING_MAX); small elements take 30 times their text.
MAX_BYTES = 4 * 1024 * 1024
MAX_ELEMENTS = 100_000


def parse_element(text: str | bytes) -> etree._Element:
    """Parse XML that is not trusted: no entities, no DTD, no network, bounded size.

    :returns: the root element
    :raises InvalidDomain: where the text is too large, not XML, or has a DTD
    """
    data = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
    if len(data) > MAX_BYTES:
        raise exception.InvalidDomain(
            f"{len(data)} bytes of XML are more than the {MAX_BYTES} that are read"
        )
    # Without huge_tree libxml2 itself bounds depth (256) and the size of a text node.
    parser = etree.XMLParser(
        encoding="utf-8",  # whatever the text declares: it has been decoded once
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
    )
    try:
        root = etree.fromstring(data, parser)
    except (etree.XMLSyntaxError, ValueError) as exc:
        raise exception.InvalidDomain(f"not well-formed XML: {exc}") from exc
    if root.getroottree().docinfo.internalDTD is not None:
        raise exception.InvalidDomain("a document type declaration is not accepted")
    elements = int(root.xpath("count(//*)"))
    if elements > MAX_ELEMENTS:
        raise exception.InvalidDomain(
            f"{elements} elements are more than the {MAX_ELEMENTS} that are read"
        )
    return root


class Domain:
    """A domain definition as it was read. Only a :meth:`copy` of it may be edited.

    The text is kept: :meth:`to_xml` returns it to the letter. An edit of ``root``
    would be lost, so every function that edits takes a :class:`Draft`.
    """

    def __init__(self, root: etree._Element, text: str) -> None:
        self.root = root
        self._text = text

    @staticmethod
    def parse(text: str | bytes) -> "Domain":
        """Parse a definition as libvirt writes it.

        :raises InvalidDomain: if it is not a domain with a name, UUID, OS and devices
        """
        root = parse_element(text)
        if root.tag != "domain":
            raise exception.InvalidDomain(
                f"the root element is {root.tag!s}, not domain"
            )
        for required in ("name", "uuid", "os/type", "devices"):
            if root.find(required) is None:
                raise exception.InvalidDomain(f"the definition has no <{required}>")
        return Domain(root, text if isinstance(text, str) else text.decode())

    def copy(self) -> "Draft":
        """Return an independent copy that may be edited."""
        return Draft(copy.deepcopy(self.root))

    def to_xml(self) -> str:
        """Return the definition as text, ready for libvirt's defineXML."""
        return self._text

    @property
    def uuid(self) -> str:
        """The domain's UUID, which is the instance's."""
        return (self.root.findtext("uuid") or "").strip()

    @property
    def devices(self) -> etree._Element:
        """The <devices> element."""
        found = self.root.find("devices")
        assert found is not None  # parse() has seen it
        return found

    def each_device(self, tag: str | None = None) -> Iterator[etree._Element]:
        """Yield the devices, or those of one tag, in document order."""
        for child in self.devices:
            if isinstance(child.tag, str) and tag in (None, child.tag):
                yield child

    def disks(self, bus: str | None = None) -> Iterator[etree._Element]:
        """Yield the disks (cdroms and floppies too), or those on one bus."""
        for disk in self.each_device("disk"):
            if bus is None or target_of(disk)[1] == bus:
                yield disk

    def controllers(self, kind: str) -> Iterator[etree._Element]:
        """Yield the controllers of one type (pci, usb, scsi, sata, ide ...)."""
        for controller in self.each_device("controller"):
            if controller.get("type") == kind:
                yield controller

    def has_controller(self, kind: str) -> bool:
        """Say whether there is a controller of this type.

        (An element without children is false in itself, so any() would not tell.)
        """
        return next(self.controllers(kind), None) is not None

    def next_controller_index(self, kind: str) -> int:
        """Return the lowest index above every controller of this type."""
        return 1 + max((index_of(c) for c in self.controllers(kind)), default=-1)


class Draft(Domain):
    """A domain definition that is being edited."""

    def __init__(self, root: etree._Element) -> None:
        super().__init__(root, "")

    def to_xml(self) -> str:
        """Return the definition with its edits as text."""
        return etree.tostring(self.root, encoding="unicode", with_tail=False)

    def append_device(self, element: etree._Element) -> None:
        """Add a device behind all others, indented like them."""
        etree.indent(element, level=2)
        children = list(self.devices)
        if children:
            element.tail = children[-1].tail
            children[-1].tail = self.devices.text
        self.devices.append(element)


def index_of(controller: etree._Element) -> int:
    """Return a controller's index; libvirt always writes one.

    :raises InvalidDomain: where it is missing or no number
    """
    return number(controller.get("index"), "a controller's index")


def number(text: str | None, what: str, base: int = 10) -> int:
    """Return the number in an attribute; base 0 takes 0x forms too.

    :raises InvalidDomain: where it is missing, negative or no number
    """
    try:
        value = int(text or "", base)
    except ValueError as exc:
        raise exception.InvalidDomain(f"{what} is {text!r}, not a number") from exc
    if value < 0:
        raise exception.InvalidDomain(f"{what} is {text!r}, which is negative")
    return value


def target_of(disk: etree._Element) -> tuple[str, str]:
    """Return a disk's target: its name and its bus, each empty where not given."""
    target = disk.find("target")
    if target is None:
        return "", ""
    return target.get("dev", ""), target.get("bus", "")
