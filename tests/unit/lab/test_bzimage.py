# SPDX-License-Identifier: Apache-2.0
"""Kernel images that are packed again."""

import lzma
import os
import struct
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from lab.guest import bzimage

_SETUP = 1024  # two sectors
_BEFORE = b"code of the kernel's decompressor"
_AFTER = b"more of it"
_CODE = os.urandom(8192)
_TYPES = os.urandom(4096)
_PAGE = 4096
_NAMES = b"\0.text\0.BTF\0.bss\0.shstrtab\0"


def kernel() -> bytes:
    """Return an ELF file with two segments: code, types, zeros; data, .bss."""
    first = _CODE + _TYPES + b"variables".ljust(3 * _PAGE, b"\0")
    second = b"data".ljust(4 * _PAGE, b"\0")  # .bss begins after two pages
    start = _PAGE
    names = start + len(first) + len(second)
    bss = start + len(first) + 2 * _PAGE
    sections = (
        (0, 0, 0),
        (_NAMES.index(b".text"), start, len(_CODE)),
        (_NAMES.index(b".BTF"), start + len(_CODE), len(_TYPES)),
        (_NAMES.index(b".bss"), bss, 0),
        (_NAMES.index(b".shstrtab"), names, len(_NAMES)),
    )
    header = bytearray(start)
    struct.pack_into("<Q", header, 32, 64)  # the offset of the program headers
    struct.pack_into("<Q", header, 40, names + len(_NAMES))  # of the section headers
    struct.pack_into("<H", header, 56, 2)
    struct.pack_into("<HH", header, 60, len(sections), 4)
    base = bzimage.ADDRESS
    struct.pack_into("<IIQQQQ", header, 64, 1, 5, start, 0, base, len(first))
    struct.pack_into(
        "<IIQQQQ",
        header,
        64 + 56,
        1,
        6,
        start + len(first),
        0,
        base + len(first),
        len(second),
    )
    table = b"".join(struct.pack("<I20xQQ24x", *section) for section in sections)
    return bytes(header) + first + second + _NAMES + table


def image(packed: bytes) -> bytes:
    """Return a bzImage with this payload."""
    setup = bytearray(_SETUP)
    setup[0x1F1] = _SETUP // 512 - 1
    struct.pack_into("<II", setup, 0x248, len(_BEFORE), len(packed) + 4)
    return bytes(setup) + _BEFORE + packed + b"size" + _AFTER


def payload(packed: bytes) -> bytes:
    """Return the payload of an image, without the size after it."""
    return packed[_SETUP + len(_BEFORE) : -len(b"size" + _AFTER)]


def fake_tools(command: list[str | Path], stdin: bytes | None = None) -> bytes:
    """Do what zstd, the assembler and objcopy do, but pack nothing."""
    if command[0] == "zstd":
        assert stdin is not None
        return struct.pack("<IBBB", 0x184D2204, 0x60, 0x40, 0) + stdin + bytes(4)
    if command[0] == "objcopy":
        Path(command[-1]).write_bytes(b"machine code")
    return b""


class RepackTest(unittest.TestCase):
    def test_flattened_kernel_has_zeros_for_types_and_ends_at_bss(self):
        # What the kernel does not clear itself must come with its zeros.
        first = _CODE + bytes(len(_TYPES)) + b"variables".ljust(3 * _PAGE, b"\0")
        second = b"data".ljust(2 * _PAGE, b"\0")
        self.assertEqual(first + second, bzimage.flatten(bytearray(kernel())))

    def test_program_is_entered_at_the_address_of_the_kernel(self):
        distance, program = 0x200000, os.urandom(100)
        elf = bzimage.started_from(distance, program)
        (entry, entry_address), (code, code_address) = (
            (elf[offset : offset + size], address)
            for offset, address, size in (
                struct.unpack_from("<8xQ8xQQ", elf, 64 + n * 56) for n in (0, 1)
            )
        )
        self.assertEqual(bzimage.ADDRESS, entry_address)
        self.assertEqual(bzimage.ADDRESS + distance, code_address)
        self.assertEqual(program, code)
        self.assertEqual(b"\xe9", entry[:1])  # jmp
        (jump,) = struct.unpack("<i", entry[1:])
        self.assertEqual(code_address, entry_address + len(entry) + jump)

    def test_repack_changes_the_payload_and_appends_the_kernel(self):
        original, initramfs = image(lzma.compress(kernel())), b"initramfs"
        with (
            tempfile.TemporaryDirectory() as scratch,
            mock.patch.object(bzimage, "run", fake_tools),
        ):
            repacked, longer = bzimage.repack(original, initramfs, Path(scratch))
        self.assertEqual(len(original), len(repacked))
        start, end = _SETUP + len(_BEFORE), -len(b"size" + _AFTER)
        self.assertEqual(original[:start], repacked[:start])
        self.assertEqual(original[end:], repacked[end:])
        stream = lzma.LZMADecompressor()
        program = stream.decompress(payload(repacked))
        self.assertEqual(lzma.CHECK_NONE, stream.check)
        self.assertEqual(b"", stream.unused_data.strip(b"\0"))
        self.assertEqual(bzimage.started_from(0x200000, b"machine code"), program)
        blocks = bzimage.flatten(bytearray(kernel())) + bytes(4)
        packed = blocks + bytes(-len(blocks) % _PAGE)
        self.assertEqual(initramfs.ljust(_PAGE, b"\0") + packed, longer)

    def test_image_that_is_packed_otherwise_is_kept(self):
        original = image(b"\x28\xb5\x2f\xfd zstd")
        kept = bzimage.repack(original, b"initramfs", Path("unused"))
        self.assertEqual((original, b"initramfs"), kept)
