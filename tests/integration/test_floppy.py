# SPDX-License-Identifier: Apache-2.0
"""SeaBIOS boots the rescue floppy, and not the original root disk (F21)."""

from stable_rescue.domain.medium import Medium
from tests.integration import base

_MESSAGE = "RESCUE FLOPPY"
_FLOPPY_SIZE = 1_474_560

# x86 code that writes the text at 0x7c30 to the first serial port and halts.
_CODE = bytes.fromhex(
    "fa 31c0 8ed8 be307c fc"  # cli; xor ax,ax; mov ds,ax; mov si,0x7c30; cld
    "ac 84c0 7411"  # next: lodsb; test al,al; jz end
    "88c3 bafd03"  # mov bl,al; mov dx,0x3fd
    "ec a820 74fb"  # wait: in al,dx; test al,0x20; jz wait
    "88d8 b2f8 ee"  # mov al,bl; mov dl,0xf8; out dx,al
    "ebea"  # jmp next
    "f4 ebfd"  # end: hlt; jmp end
)


def boot_sector() -> bytes:
    """Return the first sector of a floppy that prints the message."""
    text = f"{_MESSAGE}\r\n".encode()
    return (_CODE.ljust(0x30, b"\0") + text).ljust(510, b"\0") + b"\x55\xaa"


class FloppyTest(base.TestCase):
    def check_floppy_boots(self, machine: str) -> None:
        server = self.new_server(machine)
        original_xml = server.definition()
        floppy = server.scene.folder / "disk.rescue"
        floppy.write_bytes(boot_sector().ljust(_FLOPPY_SIZE, b"\0"))
        medium = Medium.from_file(str(floppy))
        server.define(
            base.derive(original_xml, "floppy", "fdc", medium).rescue.to_xml()
        )
        server.start()
        server.wait_for_text(_MESSAGE)

        server.stop()
        server.define(original_xml)
        self.assertEqual(original_xml, server.definition())

    def test_rescue_floppy_boots_on_pc(self):
        self.check_floppy_boots("pc")

    def test_rescue_floppy_boots_on_q35(self):
        self.check_floppy_boots("q35")
