# SPDX-License-Identifier: Apache-2.0
"""The disk image: GPT with GRUB for BIOS, an EFI system partition, and the system."""

from pathlib import Path

from rescue_images import ImageError
from rescue_images.boot import Boot, boot_code, core_image
from rescue_images.commands import run

_SECTOR = 512
_MEBIBYTE = 1024**2
_BIOS_BOOT = "21686148-6449-6E6F-744E-656564454649"
_EFI_SYSTEM = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
# Not the type of a root: systemd of another system must not take it for one.
_LINUX_DATA = "0FC63DAF-8483-4772-8E79-3D69D8477DE4"


def partition_table(identity: str, efi_size: int, system_size: int) -> str:
    """Return the partitions as sfdisk reads them; sizes are in bytes, whole MiB."""
    rows = (
        (1, 1, f"type={_BIOS_BOOT}"),
        (2, efi_size // _MEBIBYTE, f"type={_EFI_SYSTEM}"),
        (
            2 + efi_size // _MEBIBYTE,
            system_size // _MEBIBYTE,
            f"type={_LINUX_DATA}, uuid={identity.upper()}",
        ),
    )
    per_mebibyte = _MEBIBYTE // _SECTOR
    lines = ["label: gpt", "unit: sectors", ""]
    lines += [
        f"start={start * per_mebibyte}, size={size * per_mebibyte}, {rest}"
        for start, size, rest in rows
    ]
    return "\n".join(lines) + "\n"


def make(boot: Boot, path: Path) -> None:
    """Write the disk image as qcow2.

    :raises ImageError: if a command fails, or GRUB does not fit
    """
    core = boot.bios_image("core.img", "i386-pc", "(,gpt2)/boot/grub").read_bytes()
    if len(core) > _MEBIBYTE:
        raise ImageError(f"GRUB has {len(core)} bytes, and there is room for 1 MiB")
    system_size = _whole(boot.squashfs.stat().st_size)
    efi_size = _efi_image(boot, 0).stat().st_size
    # The copy of the partition table is in the last MiB.
    size = 3 * _MEBIBYTE + efi_size + system_size
    efi = _efi_image(boot, size)
    raw = boot.work / "disk.raw"
    raw.unlink(missing_ok=True)
    with raw.open("wb") as stream:
        stream.truncate(size)
    table = partition_table(boot.identity, efi_size, system_size)
    run(boot.log, "sfdisk", "--quiet", raw, input=table)
    first_sector = _MEBIBYTE // _SECTOR
    sector = (boot.tree / "usr/lib/grub/i386-pc/boot.img").read_bytes()
    with raw.open("r+b") as stream:
        stream.write(boot_code(sector, first_sector))
        stream.seek(_MEBIBYTE)
        stream.write(core_image(core, first_sector))
    run(boot.log, "dd", f"if={efi}", f"of={raw}", "bs=1M", "seek=2", "conv=notrunc")
    seek = 2 + efi_size // _MEBIBYTE
    run(
        boot.log,
        *("dd", f"if={boot.squashfs}", f"of={raw}", "bs=1M", f"seek={seek}"),
        "conv=notrunc",
    )
    run(boot.log, "qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, path)
    raw.unlink()


def _efi_image(boot: Boot, size: int) -> Path:
    """Return the EFI system partition of a disk of a size, which has the kernel too."""
    files = {**boot.efi_files(is_iso=False), **boot.system_files(size)}
    return boot.fat("esp.img", files)


def _whole(size: int) -> int:
    """Return a size, rounded up to whole MiB."""
    return -(-size // _MEBIBYTE) * _MEBIBYTE
