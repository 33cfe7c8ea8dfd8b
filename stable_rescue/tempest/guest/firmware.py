# SPDX-License-Identifier: Apache-2.0
"""Parse an EFI load option: the device that the firmware booted (UEFI 2.10, 3.1.3)."""

import dataclasses
import struct
from typing import Self

# (type, sub-type) of the device path nodes that this module reads (UEFI 2.10, 10.3)
_PCI = (0x01, 0x01)
_ATAPI = (0x03, 0x01)
_SCSI = (0x03, 0x02)
_USB = (0x03, 0x05)
_SATA = (0x03, 0x12)
_HARD_DRIVE = (0x04, 0x01)
_END = 0x7F


@dataclasses.dataclass(frozen=True)
class BootOption:
    """The device that a boot option names; a field that the option lacks is empty."""

    #: "02.0" for each PCI function on the path.
    functions: tuple[str, ...] = ()
    #: The part of ``inventory.Device.address`` that follows the PCI functions.
    unit: str = ""
    #: The MBR's disk signature, if the option names only a partition.
    signature: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the boot option of a hexadecimal text; an empty one if it is short."""
        data = bytes.fromhex(text)
        if len(data) < 6:
            return cls()
        (length,) = struct.unpack_from("<H", data, 4)
        start = 6
        while data[start : start + 2] not in (b"\0\0", b""):  # skip the description
            start += 2
        return cls._parse_path(data[start + 2 : start + 2 + length])

    @classmethod
    def _parse_path(cls, path: bytes) -> Self:
        functions: list[str] = []
        unit = signature = ""
        offset = 0
        while offset + 4 <= len(path):
            kind, subtype, size = struct.unpack_from("<BBH", path, offset)
            if kind == _END or size < 4:
                break
            body = path[offset + 4 : offset + size]
            offset += size
            match (kind, subtype):
                case node if node == _PCI:
                    functions.append(f"{body[1]:02x}.{body[0]}")
                case node if node == _SCSI:
                    target, lun = struct.unpack_from("<HH", body)
                    unit = f"0:{target}:{lun}"
                case node if node == _USB:
                    unit = f"usb:{body[0] + 1}"
                case node if node == _SATA:
                    unit = f"ata:{struct.unpack_from('<H', body)[0] + 1}"
                case node if node == _ATAPI:
                    unit = f"ata:{body[0] + 1}/0:{body[1]}:0"
                case node if node == _HARD_DRIVE and body[37] == 1:  # MBR
                    signature = f"0x{struct.unpack_from('<I', body, 20)[0]:08x}"
        return cls(tuple(functions), unit, signature)

    def names(self, address: str, signature: str) -> bool:
        """Return True if this option names the disk with an address and a signature."""
        if not self.functions:
            return bool(self.signature) and self.signature == signature
        parts = address.split("/")
        functions = tuple(part[-4:] for part in parts if part[-2:-1] == ".")
        unit = "/".join(parts[len(functions) :])
        # The unit of a USB disk behind its port is not part of the option.
        return functions == self.functions and f"{unit}/".startswith(
            f"{self.unit}/" if self.unit else ""
        )
