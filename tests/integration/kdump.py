# SPDX-License-Identifier: Apache-2.0
"""Reads a compressed dump as QEMU writes it, to look for a text in its pages."""

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

_FLATTENED = b"makedumpfile"
_FLAT_HEADER = 4096
_RECORD = struct.Struct(">qq")  # offset and size
_SIGNATURE = b"KDUMP   "
# After the signature, the version, the names of the system and the time.
_SIZES = struct.Struct("<4xIII")  # a block, the second header, the bitmaps
_SIZES_OFFSET = 8 + 4 + 6 * 65 + 22
_PAGE = struct.Struct("<qIIQ")  # offset, size, compression, flags
_ZLIB = 1


def pages(path: Path) -> Iterator[bytes]:
    """Yield the pages of memory in a dump that zlib has compressed."""
    dump = _rearranged(path.read_bytes())
    assert dump.startswith(_SIGNATURE)
    block, second_header, bitmaps = _SIZES.unpack_from(dump, _SIZES_OFFSET)
    dumped = dump[(1 + second_header + bitmaps // 2) * block :][: bitmaps // 2 * block]
    first = (1 + second_header + bitmaps) * block
    for number in range(int.from_bytes(dumped).bit_count()):
        offset, size, compression, _flags = _PAGE.unpack_from(
            dump, first + number * _PAGE.size
        )
        content = dump[offset : offset + size]
        yield zlib.decompress(content) if compression & _ZLIB else content


def _rearranged(flat: bytes) -> bytes:
    """Return a dump whose parts are in order; QEMU writes them as they come."""
    assert flat.startswith(_FLATTENED)
    dump = bytearray()
    position = _FLAT_HEADER
    while True:
        offset, size = _RECORD.unpack_from(flat, position)
        position += _RECORD.size
        if offset < 0:
            return bytes(dump)
        dump.extend(bytes(max(0, offset + size - len(dump))))
        dump[offset : offset + size] = flat[position : position + size]
        position += size
