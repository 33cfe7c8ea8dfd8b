# SPDX-License-Identifier: Apache-2.0
"""Reads and writes the UEFI variables in an NVRAM file, as virt-fw-vars does."""

import shutil
import struct
from pathlib import Path

from virt.firmware.efi import devpath
from virt.firmware.varstore import edk2

TEMPLATE = Path("/usr/share/OVMF/OVMF_VARS_4M.fd")

#: The number of the seeded boot entry; OVMF does not use it for the entries it adds.
SEEDED = 0x0042
_TITLE = "lab original"
_LOADER = "\\EFI\\BOOT\\BOOTX64.EFI"
# Type and subtype of a device path node (UEFI 2.10, 10.3.5.1).
_MEDIA, _HARD_DRIVE = 0x04, 0x01
_MBR = 0x01


def seed(nvram: Path, disk: Path) -> None:
    """Write the NVRAM file that an installed guest would have, from OVMF's template.

    The file gets one boot entry, which is the first in BootOrder and starts the loader
    on the first partition of `disk`, a raw image with an MBR: HD(1,MBR,...)/...
    """
    shutil.copy(TEMPLATE, nvram)
    store = edk2.Edk2VarStore(str(nvram))
    path = devpath.DevicePath.filepath(_LOADER)
    path.insert(0, _partition(disk))
    variables = store.get_varlist()
    variables.set_boot_entry(SEEDED, _TITLE, path)
    variables.create("BootOrder").set_boot_order([SEEDED])
    store.write_varstore(str(nvram), variables)


def _partition(disk: Path) -> devpath.DevicePathElem:
    with disk.open("rb") as stream:
        record = stream.read(512)
    start, sectors = struct.unpack_from("<II", record, 446 + 8)
    node = devpath.DevicePathElem()
    node.devtype, node.subtype = _MEDIA, _HARD_DRIVE
    signature = record[440:444].ljust(16, b"\0")
    node.data = struct.pack("<IQQ", 1, start, sectors) + signature + bytes([_MBR, _MBR])
    return node


def boot_order(nvram: Path) -> list[int]:
    """Return the numbers in BootOrder; an empty list if there is no such variable."""
    data = _read(nvram).get("BootOrder", b"")
    return [number for (number,) in struct.iter_unpack("<H", data)]


def boot_entry(nvram: Path, number: int = SEEDED) -> bytes | None:
    """Return a boot entry as it is stored, or None if there is no such entry."""
    return _read(nvram).get(f"Boot{number:04X}")


def _read(nvram: Path) -> dict[str, bytes]:
    variables = edk2.Edk2VarStore(str(nvram)).get_varlist()
    return {name: bytes(variable.data) for name, variable in variables.items()}
