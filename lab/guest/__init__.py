# SPDX-License-Identifier: Apache-2.0
"""The lab's guests: bootable images that print what they see.

Their reader is in stable_rescue/tempest/guest.
"""

from lab.guest.builder import GuestImages, build

#: Debian packages that building the images needs, for whoever installs them.
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
