# SPDX-License-Identifier: Apache-2.0
"""The lab's guests: bootable images that print which devices they see.

A guest prints *inventories* to its serial console; stable_rescue/tempest/guest reads
them. ``init`` is the guest's program, ``builder`` makes the images.
"""

from lab.guest.builder import GuestImages, build

#: The Debian packages that are needed to build the images.
APT_PACKAGES = (
    "busybox-static",
    "cpio",
    "isolinux",
    "kmod",
    "mtools",
    "qemu-utils",
    "syslinux",
    "syslinux-common",
    "systemd-boot-efi",
    "xorriso",
    "zstd",
)

__all__ = [
    "APT_PACKAGES",
    "GuestImages",
    "build",
]
