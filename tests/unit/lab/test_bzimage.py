# SPDX-License-Identifier: Apache-2.0
"""Kernel images that are packed again."""

import lzma
import os
import struct
import unittest

from lab.guest import bzimage

_SETUP = 1024  # two sectors
_BEFORE = b"code of the kernel's decompressor"
_AFTER = b"more of it"
_CODE = os.urandom(8192)
# What no guest uses, by the name of its section.
_TABLES = {
    name: os.urandom(4096) for name in (b".BTF", b".orc_unwind_ip", b".orc_unwind")
}
_PAGE = 4096
_NAMES = b"\0".join((b"", b".text", *_TABLES, b".bss", b".shstrtab", b""))


def kernel() -> bytes:
    """Return an ELF file with two segments: code, tables, zeros; data, .bss."""
    first = _CODE + b"".join(_TABLES.values()) + b"variables".ljust(3 * _PAGE, b"\0")
    second = b"data".ljust(4 * _PAGE, b"\0")  # .bss begins after two pages
    start = _PAGE
    names = start + len(first) + len(second)
    bss = start + len(first) + 2 * _PAGE
    tables = (
        (_NAMES.index(name + b"\0"), start + first.index(table), len(table))
        for name, table in _TABLES.items()
    )
    sections = (
        (0, 0, 0),
        (_NAMES.index(b".text"), start, len(_CODE)),
        *tables,
        (_NAMES.index(b".bss"), bss, 0),
        (_NAMES.index(b".shstrtab"), names, len(_NAMES)),
    )
    header = bytearray(start)
    struct.pack_into("<Q", header, 32, 64)  # the offset of the program headers
    struct.pack_into("<Q", header, 40, names + len(_NAMES))  # of the section headers
    struct.pack_into("<H", header, 56, 2)
    struct.pack_into("<HH", header, 60, len(sections), len(sections) - 1)
    struct.pack_into("<IIQQQQ", header, 64, 1, 5, start, 0, 0, len(first))
    struct.pack_into(
        "<IIQQQQ", header, 64 + 56, 1, 6, start + len(first), 0, 0, len(second)
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


class RepackTest(unittest.TestCase):
    def test_repack_changes_the_payload_alone(self):
        original = image(lzma.compress(kernel()))
        repacked = bzimage.repack(original)
        self.assertEqual(len(original), len(repacked))
        start, end = _SETUP + len(_BEFORE), -len(b"size" + _AFTER)
        self.assertEqual(original[:start], repacked[:start])
        self.assertEqual(original[end:], repacked[end:])
        self.assertNotEqual(payload(original), payload(repacked))

    def test_repack_removes_unused_tables_and_zeros_of_bss_alone(self):
        repacked = bzimage.repack(image(lzma.compress(kernel())))
        stream = lzma.LZMADecompressor()
        unpacked = stream.decompress(payload(repacked))
        self.assertEqual(lzma.CHECK_NONE, stream.check)
        self.assertEqual(b"", stream.unused_data.strip(b"\0"))
        # What the kernel does not clear itself must come with its zeros.
        tables = bytes(sum(map(len, _TABLES.values())))
        first = _CODE + tables + b"variables".ljust(3 * _PAGE, b"\0")
        second = b"data".ljust(2 * _PAGE, b"\0")
        sizes = [
            struct.unpack_from("<Q", unpacked, 64 + n * 56 + 32)[0] for n in (0, 1)
        ]
        self.assertEqual([len(first), len(second)], sizes)
        self.assertEqual(first + second, unpacked[_PAGE:])

    def test_image_that_is_packed_otherwise_is_kept(self):
        original = image(b"\x28\xb5\x2f\xfd zstd")
        self.assertEqual(original, bzimage.repack(original))
