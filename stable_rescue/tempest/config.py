# SPDX-License-Identifier: Apache-2.0
"""The options of [stable_rescue] in tempest.conf."""

from __future__ import annotations

from oslo_config import cfg, types

GROUP = cfg.OptGroup(
    name="stable_rescue",
    title="Tests of rescues that move no device",
)

CASE = types.String(regex=r"^(disk|cdrom|floppy)/(virtio|scsi|usb|sata|ide|fdc)$")

OPTIONS: list[cfg.Opt] = [
    cfg.StrOpt(
        "disk_image",
        default="",
        help="""
The rescue image for a rescue with a disk: the absolute path of a file, or an image id.

Each test uploads the file as a new image with the properties that the test needs. An
image is downloaded first. If the option is empty, tests with a rescue disk are skipped.
""",
    ),
    cfg.StrOpt(
        "disk_format",
        default="qcow2",
        help="""
The disk format of the content of ``disk_image``.
""",
    ),
    cfg.StrOpt(
        "cdrom_image",
        default="",
        help="""
The ISO image for a rescue with a CD-ROM, given in the same way as ``disk_image``.
""",
    ),
    cfg.StrOpt(
        "server_image",
        default="",
        help="""
The id of the image that servers are created from. The default is the value of
``[compute] image_ref``.
""",
    ),
    cfg.StrOpt(
        "flavor",
        default="",
        help="""
The id of the flavor that servers are created with. The default is the value of
``[compute] flavor_ref``.

A flavor with an ephemeral disk and swap lets the tests cover those disks too.
""",
    ),
    cfg.ListOpt(
        "cases",
        item_type=CASE,
        default=["disk/virtio", "disk/scsi", "disk/usb", "cdrom/sata"],
        help="""
The combinations of device and bus to test, each as DEVICE/BUS. The two words are the
values of hw_rescue_device and hw_rescue_bus.

The machine type of ``server_image`` decides which buses are possible: virtio, scsi, usb
and sata with q35; virtio, scsi, usb and ide with pc.
""",
    ),
    cfg.ListOpt(
        "impossible_cases",
        item_type=CASE,
        default=["disk/fdc", "cdrom/virtio"],
        help="""
The combinations of device and bus that the cloud must refuse, as in ``cases``, because
the machine type of ``server_image`` does not support them. With q35, add disk/ide.
""",
    ),
    cfg.ListOpt(
        "volume_types",
        default=[""],
        help="""
The types of the volumes to attach. An empty item stands for the default volume type.
""",
    ),
    cfg.BoolOpt(
        "legacy",
        default=True,
        help="""
Test that an image without hw_rescue_device and hw_rescue_bus gives a stock rescue. Set
this to false if ``[stable_rescue] default_mode`` in nova.conf is ``stable``.
""",
    ),
    cfg.BoolOpt(
        "plan_and_rollback",
        default=True,
        help="""
Test that the driver refuses a rescue before it powers the server off, so that the
server keeps running. Set this to false for a driver without such checks.
""",
    ),
    cfg.StrOpt(
        "read_guest_by",
        default="ssh",
        choices=[
            (
                "ssh",
                "run commands in an ordinary Linux guest: lsblk, lspci, ip, findmnt,"
                " dd, and sudo without a password; needs [validation] run_validation",
            ),
            (
                "console",
                "read the inventory that guests of this project's lab print to the"
                " console log; needs no network",
            ),
            ("none", "do not read guests; skip the tests that need to"),
        ],
        help="""
How the tests read the devices that a guest sees.
""",
    ),
    cfg.IntOpt(
        "boot_timeout",
        default=300,
        min=1,
        help="""
Seconds to wait until a guest has booted and can be read.
""",
    ),
]
