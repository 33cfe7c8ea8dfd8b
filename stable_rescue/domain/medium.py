# SPDX-License-Identifier: Apache-2.0
"""The content of a rescue disk or config drive, without its place in a definition."""

from dataclasses import dataclass

from lxml import etree

from stable_rescue import exception
from stable_rescue.domain import document

# The edits decide on these: address, name and boot order of the disk.
_NOT_THE_MEDIUM = ("target", "address", "boot", "alias", "serial", "readonly")


@dataclass(frozen=True)
class Medium:
    """The content of a rescue disk, as the text of a <disk> element."""

    disk_xml: str

    @classmethod
    def from_file(cls, path: str, image_format: str = "raw") -> "Medium":
        """Return the medium in an image file.

        :param image_format: the format of the file, as QEMU names it
        """
        disk = etree.Element("disk", type="file", device="disk")
        etree.SubElement(disk, "driver", name="qemu", type=image_format)
        etree.SubElement(disk, "source", file=path)
        return cls(etree.tostring(disk, encoding="unicode"))

    def element(self) -> etree._Element:
        """Return a new <disk> element with the medium and nothing else.

        :raises InvalidDomain: if the text is not a <disk> element with a source
        """
        disk = document.parse_element(self.disk_xml)
        if disk.tag != "disk" or disk.find("source") is None:
            raise exception.InvalidDomain("the medium is not a <disk> with a <source>")
        for tag in _NOT_THE_MEDIUM:
            for child in disk.findall(tag):
                disk.remove(child)
        for element in disk.iter():
            element.text = element.text.strip() if element.text else None
            element.tail = None
        return disk

    @property
    def device(self) -> str:
        """Return the kind of the disk: disk, cdrom or floppy."""
        return self.element().get("device", "disk")
