# SPDX-License-Identifier: Apache-2.0
"""Disks of a server that does not boot, and the config drive of its rescue."""

import json
from pathlib import Path

from rescue_images.commands import run

PASSWORD = "Rescue-4711"
#: A kernel of which the server has everything, and one without initramfs.
WHOLE_KERNEL = "6.1.0-31-amd64"
BROKEN_KERNEL = "6.1.0-32-amd64"
ROOT_UUID = "11111111-2222-4333-8444-555555555555"
GONE_UUID = "99999999-2222-4333-8444-555555555555"
LABEL = "cloudimg-rootfs"
_KEY = (
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA5l5l5l5l5l5l5l5l5l5l5l5l5l5l5l5l5l5l5l5l5 me"
)
_METADATA = {
    "uuid": "6c1f0a52-3a86-4d0b-8e0f-2f3f0b1c9a2a",
    "name": "web1",
    "hostname": "web1",
    "admin_pass": PASSWORD,
    "public_keys": {"me": _KEY},
}
#: If the rescue system ran the user data of the server, this file would exist.
USER_DATA_MARK = "/run/user-data-ran"
_FSTAB = f"""\
UUID={ROOT_UUID} / ext4 errors=remount-ro 0 1
UUID={GONE_UUID} /data ext4 defaults 0 2
/dev/vda2 none swap sw 0 0
"""
_TABLE = """\
label: gpt
start=2048, size=131072, type=0FC63DAF-8483-4772-8E79-3D69D8477DE4
start=133120, size=32768, type=0657FD6D-A4AB-43C4-84E5-0933C84B4F4F
"""
_FILES = {
    "etc/fstab": _FSTAB,
    "etc/passwd": "root:x:0:0:root:/root:/bin/bash\n",
    "etc/shadow": "root:!:20000::::::\n",
    "usr/lib/os-release": 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
    "boot/grub/grub.cfg": f"linux /boot/vmlinuz-{WHOLE_KERNEL} ro\n",
    f"boot/vmlinuz-{WHOLE_KERNEL}": "kernel\n",
    f"boot/initrd.img-{WHOLE_KERNEL}": "initramfs\n",
    f"boot/vmlinuz-{BROKEN_KERNEL}": "kernel\n",
    f"usr/lib/modules/{WHOLE_KERNEL}/modules.dep": "\n",
    f"usr/lib/modules/{BROKEN_KERNEL}/modules.dep": "\n",
}


def broken_server(folder: Path, log: Path) -> Path:
    """Return the disk of a server whose fstab names a file system that is gone.

    One of its kernels has no initramfs, nobody can log in, and there is no boot loader.

    :raises ImageError: if a command fails
    """
    root = folder / "root"
    for name in ("data", "dev", "proc", "sys", "run", "bin"):
        (root / name).mkdir(parents=True, exist_ok=True)
    for name, text in _FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    system = folder / "root.img"
    run(
        log,
        *("mkfs.ext4", "-q", "-F", "-L", LABEL, "-U", ROOT_UUID, "-d", root, system),
        "64M",
    )
    swap = folder / "swap.img"
    with swap.open("wb") as stream:
        stream.truncate(16 * 1024**2)
    run(log, "mkswap", swap)
    disk = folder / "server.raw"
    with disk.open("wb") as stream:
        stream.truncate(96 * 1024**2)
    run(log, "sfdisk", "--quiet", disk, input=_TABLE)
    for source, seek in ((system, 1), (swap, 65)):
        run(
            log,
            *("dd", f"if={source}", f"of={disk}", "bs=1M", f"seek={seek}"),
            "conv=notrunc",
        )
    return disk


def grown_copy(image: Path, folder: Path, log: Path) -> Path:
    """Return the disk of a server that was made from the rescue image itself."""
    disk = folder / "copy.qcow2"
    run(log, "qemu-img", "convert", "-O", "qcow2", image, disk)
    run(log, "qemu-img", "resize", disk, "+1G")
    return disk


def config_drive(folder: Path, log: Path) -> Path:
    """Return a config drive with a password, a key and user data.

    :raises ImageError: if a command fails
    """
    root = folder / "config"
    latest = root / "openstack/latest"
    latest.mkdir(parents=True, exist_ok=True)
    (latest / "meta_data.json").write_text(json.dumps(_METADATA))
    (latest / "user_data").write_text(f"#!/bin/sh\ntouch {USER_DATA_MARK}\n")
    path = folder / "config.iso"
    run(
        log,
        *("xorriso", "-as", "mkisofs", "-quiet", "-r", "-J", "-V", "config-2"),
        *("-o", path, root),
    )
    return path
