# SPDX-License-Identifier: Apache-2.0
"""What a rescue image boots with: GRUB for BIOS, shim and GRUB for UEFI."""

import dataclasses
import secrets
import struct
import uuid
from pathlib import Path

from rescue_images.commands import run
from rescue_images.tree import kernel_of

#: The file in which the signed GRUB looks for its configuration.
EFI_CONFIG = "EFI/debian/grub.cfg"
_SECTOR = 512
_MEBIBYTE = 1024**2
#: Where boot.img has the first sector of GRUB, and a jump that only floppies need.
_KERNEL_SECTOR = 0x5C
_DRIVE_CHECK = 0x66
#: The end of the boot code of an MBR: the signature of the disk and partitions follow.
_CODE_END = 440
#: The place in the first sector of GRUB that lists the others, and their segment.
_BLOCK_LIST = 0x1F4
_SEGMENT = 0x820
_MODULES = (
    "configfile",
    "echo",
    "fat",
    "gzio",
    "iso9660",
    "linux",
    "ls",
    "minicmd",
    "normal",
    "part_gpt",
    "part_msdos",
    "serial",
    "terminal",
    "test",
)
# root is the device that GRUB itself was loaded from, so no other disk is looked at.
_FROM_OWN_DEVICE = """\
set prefix=($root)/boot/grub
configfile $prefix/grub.cfg
"""
# On a disk, firmware loads GRUB from a partition with an image that has nothing else.
_FROM_ISO = """\
search --no-floppy --set=root --file /rescue/{identity}.squashfs
set prefix=($root)/boot/grub
configfile $prefix/grub.cfg
"""
_MENU = """\
if serial --unit=0 --speed=115200; then
    terminal_input console serial
    terminal_output console serial
fi
set timeout=1
menuentry "Rescue system of {date}" {{
    linux /boot/vmlinuz {arguments}
    initrd /boot/initrd
}}
"""
_ARGUMENTS = (
    "boot=rescue rescue.identity={identity} rescue.sectors={sectors}"
    " console=tty0 console=ttyS0,115200 loglevel=4 systemd.show_status=1"
    # Nothing of the server is found by type, swapped on, resumed, checked or assembled.
    " systemd.gpt_auto=0 systemd.swap=0 noresume fsck.mode=skip raid=noautodetect"
)


@dataclasses.dataclass(frozen=True)
class Boot:
    """A built tree, and what both images need of it.

    :ivar identity: a UUID that no other build has. The system finds its root by it
    :ivar squashfs: the tree as one file
    """

    tree: Path
    work: Path
    log: Path
    identity: str
    squashfs: Path
    date: str

    def menu(self, size: int = 0) -> str:
        """Return GRUB's configuration, which has the same length for every size.

        :param size: the size of the disk in bytes; 0 for a CD-ROM
        """
        sectors = f"{size // _SECTOR:012}"
        arguments = _ARGUMENTS.format(identity=self.identity, sectors=sectors)
        return _MENU.format(date=self.date, arguments=arguments)

    def bios_image(self, name: str, kind: str, prefix: str) -> Path:
        """Return GRUB for BIOS, made by the GRUB of the tree.

        :param kind: a format of grub-mkimage
        :param prefix: where GRUB finds its configuration
        """
        inside = f"/tmp/{name}"
        run(
            self.log,
            *("chroot", self.tree, "grub-mkimage", f"--format={kind}"),
            *(f"--prefix={prefix}", f"--output={inside}", "biosdisk", *_MODULES),
        )
        return (self.tree / inside.lstrip("/")).rename(self.work / name)

    def efi_files(self, is_iso: bool) -> dict[str, Path]:
        """Return the files that UEFI boots, with where they belong.

        Debian's shim and GRUB are signed, so the image boots with secure boot too.
        """
        text = _FROM_ISO.format(identity=self.identity) if is_iso else _FROM_OWN_DEVICE
        config = self.work / f"{'iso' if is_iso else 'disk'}-efi-grub.cfg"
        config.write_text(text)
        shim = self.tree / "usr/lib/shim"
        manager = shim / "mmx64.efi.signed"
        if not manager.exists():
            manager = shim / "mmx64.efi"
        grub = self.tree / "usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed"
        return {
            "EFI/BOOT/BOOTX64.EFI": shim / "shimx64.efi.signed",
            "EFI/BOOT/grubx64.efi": grub,
            "EFI/BOOT/mmx64.efi": manager,
            EFI_CONFIG: config,
        }

    def system_files(self, size: int = 0) -> dict[str, Path]:
        """Return the files that GRUB reads, with where they belong.

        :param size: the size of the disk in bytes; 0 for a CD-ROM
        """
        kernel, initramfs = kernel_of(self.tree)
        menu = self.work / "grub.cfg"
        menu.write_text(self.menu(size))
        return {
            "boot/grub/grub.cfg": menu,
            "boot/vmlinuz": kernel,
            "boot/initrd": initramfs,
        }

    def fat(self, name: str, files: dict[str, Path], spare: int = 4) -> Path:
        """Return an image of a FAT file system with files.

        :param spare: free space in MiB
        """
        path = self.work / name
        path.unlink(missing_ok=True)
        content = sum(file.stat().st_size for file in files.values())
        mebibytes = -(-content // _MEBIBYTE) + spare
        run(
            self.log,
            *("mkfs.vfat", "-i", secrets.token_hex(4), "-C", path),
            str(mebibytes * 1024),
        )
        folders: dict[str, None] = {}
        for target in files:
            parents = [str(parent) for parent in Path(target).parents][:-1]
            folders |= dict.fromkeys(reversed(parents))
        run(self.log, "mmd", "-i", path, *(f"::{folder}" for folder in folders))
        for target, source in files.items():
            run(self.log, "mcopy", "-i", path, source, f"::{target}")
        return path


def new_identity() -> str:
    """Return the identity of a new build."""
    return str(uuid.uuid4())


def boot_code(boot_sector: bytes, first_sector: int) -> bytes:
    """Return the code of an MBR that loads GRUB from a sector of a hard disk."""
    code = bytearray(boot_sector[:_CODE_END])
    struct.pack_into("<Q", code, _KERNEL_SECTOR, first_sector)
    # Some BIOSes pass another drive than the one they booted; two NOPs keep the check.
    code[_DRIVE_CHECK : _DRIVE_CHECK + 2] = b"\x90\x90"
    return bytes(code)


def core_image(core: bytes, first_sector: int) -> bytes:
    """Return GRUB as it is written to a partition that begins at a sector."""
    image = bytearray(core)
    sectors = -(-len(core) // _SECTOR)
    entry = struct.pack("<QHH", first_sector + 1, sectors - 1, _SEGMENT)
    image[_BLOCK_LIST : _BLOCK_LIST + len(entry)] = entry
    return bytes(image)
