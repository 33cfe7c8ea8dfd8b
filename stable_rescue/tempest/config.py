# SPDX-License-Identifier: Apache-2.0
"""The options of tempest.conf's [stable_rescue]."""

from __future__ import annotations

from oslo_config import cfg

GROUP = cfg.OptGroup(
    name="stable_rescue",
    title="A rescue that moves no device",
)

CASE = cfg.types.String(regex=r"^(disk|cdrom|floppy)/(virtio|scsi|usb|sata|ide|fdc)$")

OPTIONS: list[cfg.Opt] = [
    cfg.StrOpt(
        "disk_image",
        default="",
        help="""
What servers are rescued with as a disk: the path of a file, or the id of an image.

Either is uploaded anew for the tests, with the properties that each of them needs; an
image is downloaded first. Without it, tests of a rescue disk are skipped.
""",
    ),
    cfg.StrOpt(
        "disk_format",
        default="qcow2",
        help="""
Disk format of the file that ``disk_image`` names.
""",
    ),
    cfg.StrOpt(
        "cdrom_image",
        default="",
        help="""
What servers are rescued with as a CD-ROM, an ISO image: as with ``disk_image``.
""",
    ),
    cfg.StrOpt(
        "server_image",
        default="",
        help="""
Id of the image that the tests' servers are made of; [compute] image_ref if empty.
""",
    ),
    cfg.StrOpt(
        "flavor",
        default="",
        help="""
Id of the flavor of the tests' servers; [compute] flavor_ref if empty.

With an ephemeral disk and swap it lets the tests see more.
""",
    ),
    cfg.ListOpt(
        "cases",
        item_type=CASE,
        default=["disk/virtio", "disk/scsi", "disk/usb", "cdrom/sata"],
        help="""
The ways of rescue to try, each as DEVICE/BUS, the values of hw_rescue_device and
hw_rescue_bus. What servers of ``server_image`` can carry depends on their machine type:
virtio, scsi, usb and sata with q35, virtio, scsi, usb and ide with pc.
""",
    ),
    cfg.ListOpt(
        "impossible_cases",
        item_type=CASE,
        default=["disk/fdc", "cdrom/virtio"],
        help="""
Ways of rescue that the machine type of ``server_image`` cannot carry, as in ``cases``;
with q35, say, disk/ide too. Each is to be refused.
""",
    ),
    cfg.ListOpt(
        "volume_types",
        default=[""],
        help="""
Volume types to attach volumes of; an empty one is the cloud's default type.
""",
    ),
    cfg.BoolOpt(
        "legacy",
        default=True,
        help="""
Whether an image without hw_rescue_device and hw_rescue_bus is rescued with in Nova's
old way. Set it to false where ``[stable_rescue] default_mode`` of Nova is ``stable``.
""",
    ),
    cfg.BoolOpt(
        "plan_and_rollback",
        default=True,
        help="""
Whether the driver decides about a rescue before it powers a server off, and rolls back
after a failure, so that a server whose rescue is refused keeps running.
""",
    ),
    cfg.StrOpt(
        "read_guest_by",
        default="console",
        choices=[
            (
                "console",
                "the console log has the inventory that the guests of this project's"
                " lab print; needs no network",
            ),
            (
                "ssh",
                "commands on an ordinary Linux image: lsblk, lspci, ip, dd, and sudo"
                " without a password; needs [validation] run_validation",
            ),
            ("none", "not at all: tests see what the API tells, no more"),
        ],
        help="""
How the tests learn what a guest sees.
""",
    ),
    cfg.IntOpt(
        "boot_timeout",
        default=300,
        min=1,
        help="""
Seconds within which a guest has booted and can be read.
""",
    ),
]
