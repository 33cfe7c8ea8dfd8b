# SPDX-License-Identifier: Apache-2.0
"""A kernel image that boots sooner under software emulation.

Most of a boot goes into unpacking Debian's kernel. This takes a third less time if the
kernel has no type information, no tables for call traces and no zeros for its .bss, and
if its checksum is not verified. Documentation/arch/x86/boot.rst in the source of Linux
describes the fields.
"""

import lzma
import struct
from collections.abc import Iterator

_SETUP_SECTORS, _PAYLOAD = 0x1F1, 0x248
_SECTOR = 512
_PAGE = 4096
_XZ_MAGIC = b"\xfd7zXZ\0"
# After the payload comes the size of the unpacked kernel.
_SIZE_FIELD = 4
# For x86 code, and with the dictionary of Debian's. A higher preset takes longer and
# saves nothing.
_FILTERS = (
    {"id": lzma.FILTER_X86},
    {"id": lzma.FILTER_LZMA2, "preset": 4, "dict_size": 32 * 1024 * 1024},
)
# The program header for what is loaded, and the sizes of the headers.
_LOAD, _PROGRAM_SIZE, _SECTION_SIZE = 1, 56, 64
_UNUSED = (b".BTF", b".orc_unwind", b".orc_unwind_ip")
_CLEARED = b".bss"


def repack(image: bytes) -> bytes:
    """Return the kernel image with a payload that is unpacked sooner.

    The code after the payload must not move, so the payload's size stays the same. If
    the image is not packed with xz, or the payload would grow, the image is returned
    unchanged.
    """
    offset, size = struct.unpack_from("<II", image, _PAYLOAD)
    start = (image[_SETUP_SECTORS] + 1) * _SECTOR + offset
    end = start + size - _SIZE_FIELD
    if not image[start:end].startswith(_XZ_MAGIC):
        return image
    kernel = _reduced(bytearray(lzma.decompress(image[start:end])))
    payload = lzma.compress(kernel, check=lzma.CHECK_NONE, filters=_FILTERS)
    if len(payload) > end - start:
        return image
    return image[:start] + payload.ljust(end - start, b"\0") + image[end:]


def _reduced(kernel: bytearray) -> bytes:
    """Return the ELF file without what no guest uses and the zeros of its .bss.

    The kernel clears its own .bss. A guest of the lab loads no BPF programs, and nobody
    reads a call trace of its kernel, which just ends early without its tables. Zeros
    elsewhere must stay: what is unpacked is followed by what was in memory before, and
    variables of each CPU begin with that.
    """
    cleared = len(kernel)
    for name, offset, size in _sections(kernel):
        if name in _UNUSED:
            kernel[offset : offset + size] = bytes(size)
        elif name == _CLEARED:
            cleared = offset
    (programs,) = struct.unpack_from("<Q", kernel, 32)
    (count,) = struct.unpack_from("<H", kernel, 56)
    end = 0
    for header in range(programs, programs + count * _PROGRAM_SIZE, _PROGRAM_SIZE):
        (kind,) = struct.unpack_from("<I", kernel, header)
        (offset,) = struct.unpack_from("<Q", kernel, header + 8)
        (size,) = struct.unpack_from("<Q", kernel, header + 32)
        if kind == _LOAD:
            used = len(kernel[offset : offset + size].rstrip(b"\0"))
            kept = max(-(-used // _PAGE) * _PAGE, cleared - offset)
            size = min(size, kept)
            struct.pack_into("<Q", kernel, header + 32, size)
            end = max(end, offset + size)
    return bytes(kernel[:end])


def _sections(kernel: bytearray) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, offset and size of each section of an ELF file."""
    (table,) = struct.unpack_from("<Q", kernel, 40)
    count, names = struct.unpack_from("<HH", kernel, 60)
    entries = [
        # The offset of the name; the section's offset and size.
        struct.unpack_from("<I20xQQ", kernel, table + number * _SECTION_SIZE)
        for number in range(count)
    ]
    for name, offset, size in entries:
        start = entries[names][1] + name
        yield bytes(kernel[start : kernel.index(0, start)]), offset, size
