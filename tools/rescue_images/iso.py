# SPDX-License-Identifier: Apache-2.0
"""The ISO image: boots as a CD-ROM and as a disk, BIOS and UEFI."""

import os
import shutil
from pathlib import Path

from rescue_images.boot import EFI_CONFIG, Boot
from rescue_images.commands import run


def make(boot: Boot, path: Path) -> None:
    """Write the ISO image.

    :raises ImageError: if a command fails
    """
    folder = boot.work / "iso"
    shutil.rmtree(folder, ignore_errors=True)
    loader = boot.bios_image("eltorito.img", "i386-pc-eltorito", "/boot/grub")
    efi_files = boot.efi_files(is_iso=True)
    files = {
        **boot.system_files(),
        # GRUB does not read the image of UEFI on a CD-ROM, but on a disk.
        EFI_CONFIG: boot.efi_files(is_iso=False)[EFI_CONFIG],
        "boot/grub/eltorito.img": loader,
        f"rescue/{boot.identity}.squashfs": boot.squashfs,
    }
    for target, source in files.items():
        place = folder / target
        place.parent.mkdir(parents=True, exist_ok=True)
        if target.startswith("rescue/"):
            os.link(source, place)
        else:
            shutil.copyfile(source, place)
    efi = boot.fat("efi.img", efi_files, spare=1)
    run(
        boot.log,
        *("xorriso", "-as", "mkisofs", "-quiet", "-r", "-J", "-joliet-long"),
        *("-iso-level", "3"),
        # The initramfs compares this with the identity on the kernel's command line.
        *("-appid", boot.identity, "-V", f"RESCUE_{boot.identity[:8].upper()}"),
        *("-b", "boot/grub/eltorito.img", "-no-emul-boot", "-boot-load-size", "4"),
        *("-boot-info-table", "--grub2-boot-info"),
        *("--grub2-mbr", boot.tree / "usr/lib/grub/i386-pc/boot_hybrid.img"),
        *("-append_partition", "2", "0xef", efi),
        *("-eltorito-alt-boot", "-e", "--interval:appended_partition_2:all::"),
        *("-no-emul-boot", "-o", path, folder),
    )
    shutil.rmtree(folder)
