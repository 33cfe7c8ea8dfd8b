# SPDX-License-Identifier: Apache-2.0
"""Whether a mounted server has what it boots with: kernel, initramfs, boot loader."""

import re
from collections.abc import Iterator
from pathlib import Path

from rescue_tools.disks import Device, Disks
from rescue_tools.findings import Finding, note, ok, problem

_INITRAMFS = ("initrd.img-{}", "initramfs-{}.img", "initrd-{}", "initramfs-{}")
_CONFIGURATIONS = (
    "boot/grub/grub.cfg",
    "boot/grub2/grub.cfg",
    "boot/efi/EFI/*/grub.cfg",
    "boot/loader/entries/*.conf",
    "boot/efi/loader/entries/*.conf",
    "boot/extlinux/extlinux.conf",
)
_LOADERS = ("boot/efi/EFI/*/*.efi", "boot/efi/EFI/*/*.EFI")
_RESCUE_KERNEL = "-rescue-"
_CHROOT = "rescue-mount; chroot /mnt/server; then"


def kernels(root: Path) -> Iterator[Finding]:
    """Yield what is wrong with the kernels and initramfs images in /boot."""
    versions = [
        path.name.removeprefix("vmlinuz-")
        for path in sorted((root / "boot").glob("vmlinuz-*"))
        if _RESCUE_KERNEL not in path.name
    ]
    if not versions:
        yield problem(
            "/boot has no kernel (vmlinuz-*)",
            f"{_CHROOT} reinstall the server's kernel package. If /boot is a separate\n"
            "file system, check above whether it was mounted.",
        )
        return
    for version in versions:
        yield from _kernel(root, version)


def _kernel(root: Path, version: str) -> Iterator[Finding]:
    boot = root / "boot"
    images = [boot / name.format(version) for name in _INITRAMFS]
    image = next((path for path in images if path.exists()), None)
    repairs = (
        f"{_CHROOT} update-initramfs -c -k {version}   (Debian, Ubuntu)\n"
        f"or dracut --force --kver {version}   (Red Hat, SUSE)"
    )
    before = []
    if not (boot / f"vmlinuz-{version}").stat().st_size:
        before.append(problem(f"kernel {version} is an empty file"))
    if not any((root / f).is_dir() for f in _module_folders(version)):
        before.append(
            problem(
                f"kernel {version} has no modules in /lib/modules",
                f"{_CHROOT} reinstall the server's kernel package",
            )
        )
    if image is None:
        before.append(problem(f"kernel {version} has no initramfs in /boot", repairs))
    elif not image.stat().st_size:
        before.append(problem(f"initramfs {image.name} is an empty file", repairs))
    yield from before or [ok(f"kernel {version} has an initramfs and modules")]


def _module_folders(version: str) -> tuple[str, str]:
    return f"usr/lib/modules/{version}", f"lib/modules/{version}"


def loader(root: Path, disk: Device | None, is_uefi: bool) -> Iterator[Finding]:
    """Yield what is wrong with the boot loader.

    :param disk: the disk that the root is on
    :param is_uefi: the server boots with UEFI
    """
    files = [path for name in _CONFIGURATIONS for path in sorted(root.glob(name))]
    if not files:
        yield problem(
            "no configuration of a boot loader was found (grub.cfg, loader entries)",
            f"{_CHROOT} update-grub   (or grub2-mkconfig -o /boot/grub2/grub.cfg)",
        )
    yield from _kernels_named(root, files)
    if is_uefi:
        yield from _efi(root, disk)
    elif disk is not None:
        yield from _boot_sector(disk)


def _kernels_named(root: Path, files: list[Path]) -> Iterator[Finding]:
    """Yield which kernels a configuration names that are gone."""
    missing: dict[str, Path] = {}
    for path in files:
        text = path.read_text(errors="replace")
        for name in re.findall(r"^\s*linux(?:16|efi)?\s+(\S+)", text, re.MULTILINE):
            kernel = Path(re.sub(r"^\(.*?\)|^\$\w+", "", name)).name
            if kernel and "$" not in kernel and not (root / "boot" / kernel).exists():
                missing.setdefault(kernel, path)
    for kernel, path in missing.items():
        yield problem(
            f"/{path.relative_to(root)} names {kernel}, which is not in /boot",
            f"{_CHROOT} update-grub   (or grub2-mkconfig -o /boot/grub2/grub.cfg)",
        )
    if files and not missing:
        names = ", ".join(f"/{path.relative_to(root)}" for path in files[:3])
        yield ok(f"boot loader configuration: {names}")


def _efi(root: Path, disk: Device | None) -> Iterator[Finding]:
    found = {path for name in _LOADERS for path in root.glob(name)}
    if found:
        removable = root / "boot/efi/EFI/BOOT/BOOTX64.EFI"
        yield ok(f"{len(found)} EFI programs in /boot/efi/EFI")
        if not removable.exists():
            yield note(
                "/boot/efi/EFI/BOOT/BOOTX64.EFI is missing",
                "Firmware without a boot entry for this server needs that file.",
            )
        return
    on_disk = disk is not None and any(
        part.purpose == "EFI System" for part in disk.walk()
    )
    where = "is empty or not mounted" if on_disk else "is missing on the root disk"
    yield problem(
        f"this server boots with UEFI, and its EFI system partition {where}",
        f"{_CHROOT} mount /boot/efi; grub-install --target=x86_64-efi --removable",
    )


def _boot_sector(disk: Device) -> Iterator[Finding]:
    try:
        with Path(disk.path).open("rb") as stream:
            sector = stream.read(512)
    except OSError as error:
        yield problem(f"{disk.path} cannot be read: {error.strerror}")
        return
    if b"GRUB" in sector:
        yield ok(f"{disk.path} has GRUB in its boot sector")
    elif any(sector[:440]):
        yield note(f"{disk.path} has a boot sector that is not GRUB's")
    else:
        yield problem(
            f"{disk.path} has no boot loader in its boot sector",
            f"{_CHROOT} grub-install {disk.path}   (grub2-install on Red Hat, SUSE)",
        )


def is_uefi(firmware: Path = Path("/sys/firmware/efi")) -> bool:
    """Return True if this machine, and so the server, booted with UEFI."""
    return firmware.is_dir()


def root_disk(disks: Disks, path: str) -> Device | None:
    """Return the disk that the device of a root is on."""
    return disks.disk_of(path)
