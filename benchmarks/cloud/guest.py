# SPDX-License-Identifier: Apache-2.0
"""A guest of 512 bytes that boots at once and shuts down when its button is pressed.

Under software emulation Linux boots for seconds, and takes CPU time from what is
measured. This guest prints a line to its serial console and halts until the firmware's
timer interrupt, which comes 18 times a second. If ACPI's register shows the power
button then, the guest turns the machine off. SeaBIOS puts the registers at port 0x600,
on pc and on q35.
"""

from __future__ import annotations

import struct

SECTOR = 512
#: The offset of the partition table in the sector.
_TABLE = 446
#: The address that the firmware loads the sector to.
_ORIGIN = 0x7C00
_UART, _UART_STATUS, _UART_READY = 0x3F8, 0x3FD, 0x20
#: ACPI's registers: events, which of them are enabled, and control.
_EVENTS, _ENABLED, _CONTROL = 0x600, 0x602, 0x604
_POWER_BUTTON = 0x0100
_SOFT_OFF = 0x2000


def _port(number: int) -> bytes:
    """Return ``mov dx, number``."""
    return b"\xba" + struct.pack("<H", number)


def _value(number: int) -> bytes:
    """Return ``mov ax, number``."""
    return b"\xb8" + struct.pack("<H", number)


def boot_sector(text: str) -> bytes:
    """Return the boot sector of a guest that prints a line of text when it boots."""
    send = (
        b"\x88\xc4"  # mov ah, al
        + _port(_UART_STATUS)
        + b"\xec\xa8"  # in al, dx; test al, ...
        + bytes([_UART_READY])
        + b"\x74\xfb"  # jz: to the in
        + b"\x88\xe0"  # mov al, ah
        + _port(_UART)
        + b"\xee"  # out dx, al
    )
    # lodsb; test al, al; jz: behind the jmp; send; jmp: to the lodsb
    size = len(send)
    printing = b"\xac\x84\xc0" + bytes([0x74, size + 2]) + send
    printing += bytes([0xEB, 256 - (len(printing) + 2)])
    waiting = (
        b"\xf4"  # hlt
        + _port(_EVENTS)
        + b"\xed"  # in ax, dx
        + b"\xf6\xc4"  # test ah, ...
        + bytes([_POWER_BUTTON >> 8])
    )
    waiting += bytes([0x74, 256 - (len(waiting) + 2)])  # jz: to the hlt
    rest = (
        printing
        + b"\xfb"  # sti
        + waiting
        + _port(_CONTROL)
        + _value(_SOFT_OFF)
        + b"\xef\xf4"  # out dx, ax; hlt
    )
    # xor ax, ax; mov ds, ax; mov ss, ax; mov sp, _ORIGIN; cld
    start = b"\x31\xc0\x8e\xd8\x8e\xd0\xbc" + struct.pack("<H", _ORIGIN) + b"\xfc"
    # Whoever has read the text may press the button, and QEMU drops it if not enabled.
    start += _port(_ENABLED) + _value(_POWER_BUTTON) + b"\xef"  # out dx, ax
    message = _ORIGIN + len(start) + 3 + len(rest)
    code = start + b"\xbe" + struct.pack("<H", message) + rest  # mov si, message
    code += text.encode("ascii") + b"\r\n\0"
    return code.ljust(_TABLE, b"\0") + _partitions() + b"\x55\xaa"


def _partitions() -> bytes:
    """Return a partition table with one partition; Nova refuses a disk without one."""
    places = b"\xfe\xff\xff"  # no cylinders: the sector numbers count
    entry = struct.pack("<B3sB3sII", 0x80, places, 0x0E, places, 1, 1)
    return entry.ljust(4 * len(entry), b"\0")
