# SPDX-License-Identifier: Apache-2.0
"""A domain definition as a value, read by a parser that does not trust its input."""

import copy
from collections.abc import Iterator

from lxml import etree

from stable_rescue import exception

# libvirt transfers no text over 4 MiB (REMOTE_STRING_MAX). A domain of 1,000 devices
# has less than 1 MiB and 10,000 elements. In memory, a small element takes 30 times the
# space of its text, so elements are limited too.
MAX_BYTES = 4 * 1024 * 1024
MAX_ELEMENTS = 100_000


def parse_element(text: str | bytes) -> etree._Element:
    """Parse untrusted XML: no entities, no DTD, no network, limited size.

    :returns: the root element
    :raises InvalidDomain: if the text is too large, is not XML, or has a DTD
    """
    data = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
    if len(data) > MAX_BYTES:
        raise exception.InvalidDomain(
            f"{len(data)} bytes of XML exceed the limit of {MAX_BYTES}"
        )
    # Without huge_tree, libxml2 limits the depth (256) and the size of a text node.
    parser = etree.XMLParser(
        encoding="utf-8",  # overrides an encoding that the text declares
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
            f"{elements} elements of XML exceed the limit of {MAX_ELEMENTS}"
        )
    return root


class Domain:
    """A domain definition that was parsed. Only a :meth:`copy` of it may be edited.

    :meth:`to_xml` returns the parsed text to the letter, so an edit of ``root`` would
    be lost. Functions that edit take a :class:`Draft`.
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
        """Return the UUID, which is the instance's as well."""
        return (self.root.findtext("uuid") or "").strip()

    @property
    def devices(self) -> etree._Element:
        """Return the <devices> element."""
        devices = self.root.find("devices")
        assert devices is not None  # parse() has checked this
        return devices

    def each_device(self, tag: str | None = None) -> Iterator[etree._Element]:
        """Yield the devices, or only those with one tag, in order."""
        for child in self.devices:
            if isinstance(child.tag, str) and tag in (None, child.tag):
                yield child

    def disks(self, bus: str | None = None) -> Iterator[etree._Element]:
        """Yield the disks, cdroms and floppies, or only those on one bus."""
        for disk in self.each_device("disk"):
            if bus is None or target_of(disk)[1] == bus:
                yield disk

    def controllers(self, kind: str) -> Iterator[etree._Element]:
        """Yield the controllers of one type (pci, usb, scsi, sata, ide, ...)."""
        for controller in self.each_device("controller"):
            if controller.get("type") == kind:
                yield controller

    def has_controller(self, kind: str) -> bool:
        """Return True if there is a controller of this type."""
        # any() would not do: an lxml element without children is false.
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
        """Append a device, with the indentation of the others."""
        etree.indent(element, level=2)
        children = list(self.devices)
        if children:
            element.tail = children[-1].tail
            children[-1].tail = self.devices.text
        self.devices.append(element)


def index_of(controller: etree._Element) -> int:
    """Return the index of a controller; libvirt always writes one.

    :raises InvalidDomain: if the index is missing or not a number
    """
    return number(controller.get("index"), "the index of a controller")


def number(text: str | None, what: str, base: int = 10) -> int:
    """Return the number in an attribute; base 0 also accepts a 0x prefix.

    :param what: the name of the number, for the message
    :raises InvalidDomain: if the text is missing, negative or not a number
    """
    try:
        value = int(text or "", base)
    except ValueError as exc:
        raise exception.InvalidDomain(f"{what} is {text!r}, not a number") from exc
    if value < 0:
        raise exception.InvalidDomain(f"{what} is {text!r}, which is negative")
    return value


def target_of(disk: etree._Element) -> tuple[str, str]:
    """Return the name and the bus of a disk's target; each is empty if not given."""
    target = disk.find("target")
    if target is None:
        return "", ""
    return target.get("dev", ""), target.get("bus", "")
