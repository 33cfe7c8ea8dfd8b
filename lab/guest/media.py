# SPDX-License-Identifier: Apache-2.0
"""Disk and CD-ROM images that boot on SeaBIOS (syslinux) and OVMF (systemd-boot)."""

import dataclasses
import hashlib
import shutil
import struct
from pathlib import Path

from lab.guest.tools import GuestBuildError, run, stamp

_SYSLINUX_MBR = Path("/usr/lib/SYSLINUX/mbr.bin")
_ISOLINUX = Path("/usr/lib/ISOLINUX/isolinux.bin")
_LDLINUX = Path("/usr/lib/syslinux/modules/bios/ldlinux.c32")
_SYSTEMD_BOOT = Path("/usr/lib/systemd/boot/efi/systemd-bootx64.efi")

_SECTOR = 512
_FIRST_SECTOR = 2048
_MIB = 1024 * 1024


@dataclasses.dataclass(frozen=True)
class Image:
    """One bootable system."""

    name: str  # the name of the files; different for each image
    printed: str  # the name that the guest prints
    arguments: str = ""  # additional arguments for the kernel


@dataclasses.dataclass(frozen=True)
class BootFiles:
    """What every medium contains."""

    kernel: Path
    initrd: Path
    build: str

    def command_line(self, image: Image, medium: str) -> str:
        """Return the kernel's arguments; the guest prints those with ``lab.``.

        The second line saves a tenth of a boot under software emulation.
        """
        return (
            "console=ttyS0 quiet loglevel=1 panic=5 nokaslr audit=0 "
            "rodata=off init_on_alloc=0 mitigations=off cryptomgr.notests "
            f"lab.image={image.printed} lab.medium={medium} lab.build={self.build} "
            f"{image.arguments}"
        ).rstrip()


def make_disk(target: Path, image: Image, boot: BootFiles, scratch: Path) -> None:
    """Write a disk image: an MBR with one active FAT partition.

    Sector 1 has the text that inventories show as the label of the disk.
    """
    fat = scratch / f"{image.name}.fat"
    files = _efi_files(image, "disk", boot, scratch / f"{image.name}-disk")
    arguments = boot.command_line(image, "disk")
    (files / "syslinux.cfg").write_text(_syslinux_config(arguments))
    shutil.copy(boot.kernel, files / "vmlinuz")
    shutil.copy(boot.initrd, files / "initrd")
    _make_fat(fat, files, f"{image.name}-disk", hidden_sectors=_FIRST_SECTOR)
    run(["syslinux", "--install", fat])
    content = fat.read_bytes()
    signature = _number(f"{image.name} mbr {boot.build}")
    sectors = len(content) // _SECTOR
    entry = struct.pack(
        "<B3sB3sII",
        0x80,  # active
        b"\xfe\xff\xff",
        0x0E,  # FAT16, LBA
        b"\xfe\xff\xff",
        _FIRST_SECTOR,
        sectors,
    )
    mbr = _read(_SYSLINUX_MBR, "syslinux-common")[:440].ljust(440, b"\0")
    mbr += struct.pack("<I", signature) + b"\0\0" + entry.ljust(64, b"\0") + b"\x55\xaa"
    with target.open("wb") as stream:
        stream.write(mbr)
        stream.write(_label(image, boot))
        stream.seek(_FIRST_SECTOR * _SECTOR)
        stream.write(content)
        # room for a backup GPT, and a whole number of MiB
        stream.truncate(-(-(stream.tell() + _MIB) // _MIB) * _MIB)


def make_iso(target: Path, image: Image, boot: BootFiles, scratch: Path) -> None:
    """Write a CD-ROM image with isolinux for BIOS and a FAT image for UEFI."""
    root = scratch / f"{image.name}-iso"
    tree = root / "isolinux"
    tree.mkdir(parents=True)
    arguments = boot.command_line(image, "cdrom")
    (tree / "isolinux.cfg").write_text(_syslinux_config(arguments))
    (tree / "isolinux.bin").write_bytes(_read(_ISOLINUX, "isolinux"))
    (tree / "ldlinux.c32").write_bytes(_read(_LDLINUX, "syslinux-common"))
    shutil.copy(boot.kernel, tree / "vmlinuz")
    shutil.copy(boot.initrd, tree / "initrd")
    files = _efi_files(image, "cdrom", boot, scratch / f"{image.name}-cdrom")
    shutil.copy(boot.kernel, files / "vmlinuz")
    shutil.copy(boot.initrd, files / "initrd")
    _make_fat(tree / "efi.img", files, f"{image.name}-cdrom", hidden_sectors=0)
    stamp(root)
    bios = "-b isolinux/isolinux.bin -c isolinux/boot.cat -no-emul-boot"
    bios += " -boot-load-size 4 -boot-info-table"
    uefi = "-eltorito-alt-boot -e isolinux/efi.img -no-emul-boot"
    volume = f"LAB_{image.printed.upper()}"
    command = ["xorriso", "-as", "mkisofs", "-o", str(target), "-V", volume]
    run([*command, *bios.split(), *uefi.split(), str(root)])
    with target.open("r+b") as stream:
        # ISO 9660 does not use the first 32 KiB, so the label can be in sector 1 too.
        stream.seek(_SECTOR)
        stream.write(_label(image, boot))


def _efi_files(image: Image, medium: str, boot: BootFiles, folder: Path) -> Path:
    """Write the files that systemd-boot reads to `folder`; return `folder`."""
    loader = folder / "loader"
    (loader / "entries").mkdir(parents=True)
    (loader / "loader.conf").write_text("timeout 0\neditor no\n")
    (loader / "entries" / "lab.conf").write_text(
        f"title lab {image.printed}\nlinux /vmlinuz\ninitrd /initrd\n"
        f"options {boot.command_line(image, medium)}\n"
    )
    efi = folder / "EFI" / "BOOT"
    efi.mkdir(parents=True)
    (efi / "BOOTX64.EFI").write_bytes(_read(_SYSTEMD_BOOT, "systemd-boot-efi"))
    return folder


def _syslinux_config(arguments: str) -> str:
    return (
        "default lab\nprompt 0\ntimeout 0\nlabel lab\n"
        f"  kernel vmlinuz\n  initrd initrd\n  append {arguments}\n"
    )


def _make_fat(target: Path, files: Path, name: str, hidden_sectors: int) -> None:
    """Write a FAT16 file system with `files` and 2 MiB of free space."""
    stamp(files)
    size = sum(path.stat().st_size for path in files.rglob("*") if path.is_file())
    sectors = (size // _MIB + 3) * _MIB // _SECTOR
    geometry = f"-T {sectors} -h 255 -s 63 -H {hidden_sectors}"
    identity = f"-N {_number(name):08x} -v LAB"
    run(["mformat", "-C", "-i", target, *geometry.split(), *identity.split(), "::"])
    top = sorted(files.iterdir())
    run(["mcopy", "-s", "-m", "-i", target, *top, "::"])


def _label(image: Image, boot: BootFiles) -> bytes:
    text = f"LABIMG1 {image.printed} {boot.build}"
    return text.encode().ljust(_SECTOR, b"\0")


def _number(text: str) -> int:
    """Return a 32-bit hash of `text`, for identifiers that are reproducible."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little")


def _read(path: Path, package: str) -> bytes:
    if not path.exists():
        raise GuestBuildError(f"{path} not found: install {package}")
    return path.read_bytes()
