# SPDX-License-Identifier: Apache-2.0
"""Reads an EFI load option: which device the firmware booted (UEFI 2.10, 3.1.3)."""

import dataclasses
import struct
from typing import Self

# (type, sub-type) of the device path nodes that matter here (UEFI 2.10, 10.3)
_PCI = (0x01, 0x01)
_ATAPI = (0x03, 0x01)
_SCSI = (0x03, 0x02)
_USB = (0x03, 0x05)
_SATA = (0x03, 0x12)
_HARD_DRIVE = (0x04, 0x01)
_END = 0x7F


@dataclasses.dataclass(frozen=True)
class BootOption:
    """Where a boot option points, as far as it says."""

    functions: tuple[str, ...] = ()  # "02.0" for each PCI function on the way
    unit: str = ""  # what follows the PCI functions in our addresses
    signature: str = ""  # of the MBR, for an entry that names a partition only

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the option in hexadecimal `text`; empty where it says nothing."""
        data = bytes.fromhex(text)
        if len(data) < 6:
            return cls()
        (length,) = struct.unpack_from("<H", data, 4)
        start = 6
        while data[start : start + 2] not in (b"\0\0", b""):  # the description
            start += 2
        return cls._parse_path(data[start + 2 : start + 2 + length])

    @classmethod
    def _parse_path(cls, path: bytes) -> Self:
        functions: list[str] = []
        unit = signature = ""
        at = 0
        while at + 4 <= len(path):
            kind, subtype, size = struct.unpack_from("<BBH", path, at)
            if kind == _END or size < 4:
                break
            body = path[at + 4 : at + size]
            at += size
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
                case node if node == _HARD_DRIVE and body[37] == 1:  # an MBR's
                    signature = f"0x{struct.unpack_from('<I', body, 20)[0]:08x}"
        return cls(tuple(functions), unit, signature)

    def names(self, address: str, signature: str) -> bool:
        """Return whether this option points at the disk with that address."""
        if not self.functions:
            return bool(self.signature) and self.signature == signature
        parts = address.split("/")
        functions = tuple(part[-4:] for part in parts if part[-2:-1] == ".")
        unit = "/".join(parts[len(functions) :])
        # a USB disk's own unit is not part of the option
        return functions == self.functions and f"{unit}/".startswith(
            f"{self.unit}/" if self.unit else ""
        )
