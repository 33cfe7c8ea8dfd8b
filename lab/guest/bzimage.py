# SPDX-License-Identifier: Apache-2.0
"""A kernel image that boots sooner under software emulation.

A third of a boot goes into unpacking Debian's kernel with xz. So the image gets a small
program (unpack.S) in place of the kernel, and the kernel follows the initramfs as LZ4,
whose size does not matter there. Documentation/arch/x86/boot.rst in the source of Linux
describes the fields of an image.
"""

import lzma
import struct
from collections.abc import Iterator
from pathlib import Path

from lab.guest.tools import GuestBuildError, run

_SETUP_SECTORS, _PAYLOAD = 0x1F1, 0x248
_SECTOR = 512
_PAGE = 4096
_XZ_MAGIC = b"\xfd7zXZ\0"
# After the payload comes the size of the unpacked kernel.
_SIZE_FIELD = 4
# The decompressor knows no filter but these.
_FILTERS = (
    {"id": lzma.FILTER_X86},
    {"id": lzma.FILTER_LZMA2, "preset": 4, "dict_size": 32 * 1024 * 1024},
)
# The program header for what is loaded, and the sizes of the headers of an ELF file.
_LOAD, _HEADER_SIZE, _PROGRAM_SIZE, _SECTION_SIZE = 1, 64, 56, 64
_TYPES, _CLEARED = b".BTF", b".bss"
#: Where Linux is linked to be loaded. The decompressor adds what it is moved by.
ADDRESS = 0x1000000
# The decompressor wants segments to be aligned like this.
_ALIGNMENT = 0x200000
# A frame of LZ4: magic number, flags, block size; the size of the content; a checksum.
_LZ4_MAGIC, _LZ4_HEADER, _LZ4_SIZE, _LZ4_HAS_SIZE, _LZ4_BLOCK_CHECKSUMS = (
    0x184D2204, 7, 8, 0x08, 0x10,
)  # fmt: skip


def repack(image: bytes, initramfs: bytes, scratch: Path) -> tuple[bytes, bytes]:
    """Return a kernel image and an initramfs that boot sooner together.

    The code after the payload must not move, so the payload's size stays the same. If
    the image is not packed with xz, both are returned unchanged.

    :param scratch: a folder for files of the assembler
    :raises GuestBuildError: if a tool is missing or fails
    """
    offset, size = struct.unpack_from("<II", image, _PAYLOAD)
    start = (image[_SETUP_SECTORS] + 1) * _SECTOR + offset
    end = start + size - _SIZE_FIELD
    if not image[start:end].startswith(_XZ_MAGIC):
        return image, initramfs
    kernel = flatten(bytearray(lzma.decompress(image[start:end])))
    command = ["zstd", "-q", "--format=lz4", "-12", "-c"]
    packed = _padded(_blocks(run(command, stdin=kernel)))
    # The kernel clears its .bss, so the program may be there. The decompressor itself
    # is far above, at the end of the memory that the image asks for.
    distance = -(-len(kernel) // _ALIGNMENT) * _ALIGNMENT
    program = _assemble(scratch, PACKED=len(packed), OFFSET=distance)
    payload = lzma.compress(
        started_from(distance, program), check=lzma.CHECK_NONE, filters=_FILTERS
    )
    image = image[:start] + payload.ljust(end - start, b"\0") + image[end:]
    return image, _padded(initramfs) + packed


def flatten(kernel: bytearray) -> bytes:
    """Return what a kernel's ELF file has in memory at ADDRESS, up to its .bss.

    Type information is replaced by zeros, because a guest of the lab loads no BPF
    programs.
    """
    cleared = len(kernel)
    for name, offset, size in _sections(kernel):
        if name == _TYPES:
            kernel[offset : offset + size] = bytes(size)
        elif name == _CLEARED:
            cleared = offset
    (programs,) = struct.unpack_from("<Q", kernel, 32)
    (count,) = struct.unpack_from("<H", kernel, 56)
    memory = bytearray()
    for header in range(programs, programs + count * _PROGRAM_SIZE, _PROGRAM_SIZE):
        kind, offset, address, size = struct.unpack_from("<I4xQ8xQQ", kernel, header)
        if kind == _LOAD:
            content = kernel[offset : min(offset + size, max(offset, cleared))]
            begin = address - ADDRESS
            memory.extend(bytes(max(0, begin + len(content) - len(memory))))
            memory[begin : begin + len(content)] = content
    return bytes(memory)


def started_from(distance: int, program: bytes) -> bytes:
    """Return an ELF file with a program that is entered at ADDRESS.

    :param distance: how far above ADDRESS the program is
    """
    entry = b"\xe9" + struct.pack("<i", distance - 5)  # jmp, relative to its end
    header = struct.pack(
        "<16sHHIQQQIHHHHHH", b"\x7fELF\2\1\1", 2, 62, 1, ADDRESS, _HEADER_SIZE,
        0, 0, _HEADER_SIZE, _PROGRAM_SIZE, 2, _SECTION_SIZE, 0, 0,
    )  # fmt: skip
    content = b""
    for address, code in ((ADDRESS, entry), (ADDRESS + distance, program)):
        offset, size = _PAGE + len(content), len(code)
        header += struct.pack(
            "<IIQQQQQQ", _LOAD, 7, offset, address, address, size, size, _ALIGNMENT
        )
        content += _padded(code)
    return _padded(header) + content


def _blocks(frame: bytes) -> bytes:
    """Return the blocks of an LZ4 frame, each with its size.

    :raises GuestBuildError: the frame is not what unpack.S can read
    """
    magic, flags = struct.unpack_from("<IB", frame)
    if magic != _LZ4_MAGIC or flags & _LZ4_BLOCK_CHECKSUMS:
        raise GuestBuildError("zstd has written no LZ4, or LZ4 with checksums")
    return frame[_LZ4_HEADER + (_LZ4_SIZE if flags & _LZ4_HAS_SIZE else 0) :]


def _assemble(scratch: Path, **symbols: int) -> bytes:
    """Return the machine code of unpack.S with some symbols set."""
    linkable, code = scratch / "unpack.o", scratch / "unpack.bin"
    definitions = [f"--defsym={name}={value}" for name, value in symbols.items()]
    source = Path(__file__).with_name("unpack.S")
    run(["as", "--64", *definitions, "-o", linkable, source])
    run(["objcopy", "-O", "binary", "-j", ".text", linkable, code])
    return code.read_bytes()


def _padded(content: bytes) -> bytes:
    """Return content with zeros up to a whole number of pages."""
    return content + bytes(-len(content) % _PAGE)


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
