# SPDX-License-Identifier: Apache-2.0
"""A rescue floppy is what SeaBIOS starts, and the original is not."""

import time

from stable_rescue import plan
from stable_rescue.domain.medium import Medium
from tests.integration import base

_SAYS = b"RESCUE FLOPPY\r\n"
_BYTES = 1_474_560
_SECONDS = 60.0

# A boot sector that writes a text to the first serial port and halts.
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
    """Return the first sector of the floppy."""
    return (_CODE.ljust(0x30, b"\0") + _SAYS).ljust(510, b"\0") + b"\x55\xaa"


class FloppyTest(base.TestCase):
    def check(self, machine: str) -> None:
        server = self.new_server(machine)
        own = server.definition()
        floppy = server.scene.folder / "disk.rescue"
        floppy.write_bytes(boot_sector().ljust(_BYTES, b"\0"))
        request = plan.RescueRequest("floppy", "fdc")
        derived = plan.derive(own, request, Medium.from_file(str(floppy)))
        server.define(derived.after)
        server.start()
        deadline = time.monotonic() + _SECONDS
        while "RESCUE FLOPPY" not in server.said() and time.monotonic() < deadline:
            time.sleep(0.25)
        self.assertIn("RESCUE FLOPPY", server.said())

        server.stop()
        server.define(own)
        self.assertEqual(own, server.definition())

    def test_pc(self):
        self.check("pc")

    def test_q35(self):
        self.check("q35")
