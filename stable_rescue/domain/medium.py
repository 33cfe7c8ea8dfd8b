# SPDX-License-Identifier: Apache-2.0
"""The rescue medium: what a rescue disk reads, without where it sits."""

from dataclasses import dataclass

from lxml import etree

from stable_rescue import exception
from stable_rescue.domain import document

# Where it sits, what it is called and how it boots is decided by the edits.
_NOT_THE_MEDIUM = ("target", "address", "boot", "alias", "serial", "readonly")


@dataclass(frozen=True)
class Medium:
    """The content of a rescue disk, as a <disk> element's text."""

    disk_xml: str

    @classmethod
    def from_file(cls, path: str, image_format: str = "raw") -> "Medium":
        """Return the medium in an image file of a format that QEMU names."""
        disk = etree.Element("disk", type="file", device="disk")
        etree.SubElement(disk, "driver", name="qemu", type=image_format)
        etree.SubElement(disk, "source", file=path)
        return cls(etree.tostring(disk, encoding="unicode"))

    def element(self) -> etree._Element:
        """Return a new <disk> element that holds the medium alone.

        :raises InvalidDomain: where the text is no <disk> element with a source
        """
        disk = document.parse_element(self.disk_xml)
        if disk.tag != "disk" or disk.find("source") is None:
            raise exception.InvalidDomain("the medium is no <disk> with a <source>")
        for tag in _NOT_THE_MEDIUM:
            for child in disk.findall(tag):
                disk.remove(child)
        for element in disk.iter():
            element.text = element.text.strip() if element.text else None
            element.tail = None
        return disk

    @property
    def device(self) -> str:
        """Return the kind of disk that the medium is described as."""
        return self.element().get("device", "disk")
