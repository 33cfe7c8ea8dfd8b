# SPDX-License-Identifier: Apache-2.0
"""The [stable_rescue] options of nova.conf."""

from oslo_config import cfg, types

from stable_rescue import properties

GROUP = cfg.OptGroup(
    "stable_rescue",
    title="Stable rescue",
    help="How StableRescueDriver rescues servers.",
)

OPTIONS = [
    cfg.StrOpt(
        "default_mode",
        default="legacy",
        choices=[
            ("legacy", "stock rescue, as with libvirt.LibvirtDriver"),
            ("stable", "stable rescue with default_device and default_bus"),
        ],
        help="Kind of rescue for an image with neither hw_rescue_device nor "
        "hw_rescue_bus.",
    ),
    cfg.StrOpt(
        "default_device",
        default="disk",
        choices=properties.DEVICES,
        help="Rescue device if default_mode is stable and the image has neither "
        "hw_rescue_device nor hw_rescue_bus.",
    ),
    cfg.StrOpt(
        "default_bus",
        choices=properties.BUSES,
        help="Bus of the rescue device if default_mode is stable and the image has "
        "neither hw_rescue_device nor hw_rescue_bus. If not set, a disk uses the bus "
        "of the server's root disk, and a cdrom the bus that the server's machine "
        "type has for it.",
    ),
    cfg.ListOpt(
        "fallback_buses",
        default=[],
        item_type=types.String(choices=properties.BUSES),
        help="Buses to try, in this order, if the requested bus has no free place for "
        "the rescue device. If empty, such a rescue is refused.",
    ),
    cfg.BoolOpt(
        "allow_gaps",
        default=False,
        help="Allow the rescue disk at an address before other devices of the server "
        "if there is no free address after them. No device moves, but the disks after "
        "the rescue disk change their names in the guest (vdb becomes vdc) during the "
        "rescue. If false, such a rescue is refused.",
    ),
    cfg.StrOpt(
        "config_drive",
        default="keep",
        choices=[
            ("keep", "a server with a config drive sees a new one with the password"),
            ("always", "also add a config drive to a server without one"),
        ],
        help="Which servers have a config drive during a rescue. A config drive that "
        "is added gets an address after all devices of the server, like the rescue "
        "disk, and is removed by unrescue.",
    ),
    cfg.ListOpt(
        "allowed_networks",
        default=["keep"],
        item_type=types.String(choices=properties.NETWORKS),
        help="Values of the image property hw_rescue_network that users may choose: "
        "keep leaves the NICs of the server connected during a rescue, quarantine "
        "sets their links down. A rescue image with another value is refused. An "
        "image without the property keeps the NICs connected.",
    ),
    cfg.ListOpt(
        "allowed_writes",
        default=["keep"],
        item_type=types.String(choices=properties.WRITES),
        help="Values of the image property hw_rescue_writes that users may choose: "
        "keep lets the rescue system write to the disks of the server, discard keeps "
        "its writes in files of this host until the rescue ends, and the disks do not "
        "change. A rescue image with another value is refused. An image without the "
        "property lets the rescue system write.",
    ),
    cfg.IntOpt(
        "overlay_max_size",
        default=10,
        min=0,
        max=1048576,
        help="Maximum size in GiB of the file that holds what a rescue system with "
        "hw_rescue_writes=discard writes to one disk; 0 means the size of the disk. "
        "When the file is full, the guest gets an I/O error for each write to a new "
        "place of the disk. A rescue is refused if the instances_path has not enough "
        "space for the largest files of this rescue and of the rescues that are "
        "running.",
    ),
    cfg.StrOpt(
        "memory_dump_path",
        help="Folder for the memory of servers that are rescued with "
        "hw_rescue_memory=dump, for example /var/lib/nova/memory-dumps. The folder "
        "must exist, belong to the user of nova-compute, and be writable by nobody "
        "else; libvirtd must see the same folder. A dump holds all secrets of a "
        "server, and stays until the operator removes it. If not set, a rescue image "
        "with hw_rescue_memory=dump is refused.",
    ),
    cfg.IntOpt(
        "memory_dump_max_size",
        default=64,
        min=0,
        max=1048576,
        help="Maximum size in GiB of the memory of a server that is rescued with "
        "hw_rescue_memory=dump; 0 means no limit. A larger server is refused, and so "
        "is one whose memory does not fit into what is free of memory_dump_path.",
    ),
    cfg.StrOpt(
        "memory_dump_format",
        default="kdump",
        choices=[
            ("kdump", "compressed: snappy, lzo or zlib, whichever QEMU has first"),
            ("elf", "not compressed, for tools that read nothing else"),
        ],
        help="Format of memory dumps. If QEMU has no compressed format, a dump is an "
        "ELF file as well.",
    ),
    cfg.IntOpt(
        "max_medium_size",
        default=100,
        min=0,
        max=1048576,
        help="Maximum virtual size of a rescue image in GiB; 0 means no limit. A "
        "larger image is refused before it is fetched. An image of a few kilobytes "
        "can have a virtual size of many terabytes, which Nova writes to disk when it "
        "converts the image to raw.",
    ),
    cfg.IntOpt(
        "volume_connect_workers",
        default=4,
        min=1,
        max=64,
        help="Number of volumes of a server that are connected or checked, on this "
        "host and in Cinder, at the same time. os-brick still connects the volumes of "
        "some protocols one by one (iSCSI, FC, NVMe-oF, ScaleIO).",
    ),
    cfg.IntOpt(
        "volume_check_timeout",
        default=60,
        min=1,
        max=3600,
        help="Seconds that the check of a volume on this host may take before the "
        "rescue is refused. A read from a multipath device without paths, or from a "
        "dead NFS mount, may hang for ever and cannot be interrupted: it is left "
        "behind, and until it ends, rescues with this volume are refused at once.",
    ),
    cfg.BoolOpt(
        "allow_mapping_mismatch",
        default=False,
        help="Rescue a server even if the disks in its definition differ from its "
        "block device mapping in Nova's database, for example because a volume was "
        "detached with virsh. The rescue has the disks of the definition, and the "
        "difference is logged. If false, such a rescue is refused.",
    ),
    cfg.IntOpt(
        "recovery_workers",
        default=4,
        min=1,
        max=64,
        help="Number of interrupted or stalled rescues that nova-compute recovers at "
        "the same time.",
    ),
    cfg.IntOpt(
        "recovery_timeout",
        default=60,
        min=0,
        max=3600,
        help="Seconds that the start of nova-compute waits for the recovery of "
        "interrupted rescues. A recovery that takes longer continues in the "
        "background; its server is initialized afterwards.",
    ),
    cfg.IntOpt(
        "stalled_after",
        deprecated_name="abandoned_after",
        default=120,
        min=0,
        max=86400,
        help="Seconds after which a stalled rescue or unrescue is recovered. A server "
        "is stalled if it is rescuing or unrescuing, or is not rescued but has the "
        "record of a rescue, and nova-compute is not working on it, for example "
        "because the message queue lost the request. After a boot of the host, the "
        "start of a rescue system that failed is retried in the same interval. With "
        "0, all of this happens only at the next start of nova-compute.",
    ),
    cfg.IntOpt(
        "verify_timeout",
        default=120,
        min=0,
        max=3600,
        help="Seconds that the firmware of a server may take to boot the rescue disk. "
        "If the disk is still unread after that, or the firmware boots another one, a "
        "warning is logged and the event compute_rescue_verify fails: the rescue image "
        "is not bootable on this server. The server stays RESCUED. With 0, no guest is "
        "watched.",
    ),
    cfg.IntOpt(
        "report_keep_days",
        default=90,
        min=0,
        max=36500,
        help="Days for which the report of a rescue is kept in state_path, also after "
        "the unrescue and after the deletion of the server; 0 keeps reports for ever. "
        "stable-rescue report prints them.",
    ),
    cfg.StrOpt(
        "metrics_file",
        help="File to which nova-compute writes counts of rescues, refusals and "
        "recoveries, and downtimes, each minute, for the textfile collector of "
        "Prometheus' node exporter: for example "
        "/var/lib/prometheus/node-exporter/stable_rescue.prom. The collector reads "
        "files whose names end in .prom. The user of nova-compute must be allowed to "
        "create files in the folder. If not set, nothing is written.",
    ),
]


def register_opts(conf: cfg.ConfigOpts) -> None:
    """Register the options; a second call changes nothing."""
    conf.register_group(GROUP)
    conf.register_opts(OPTIONS, group=GROUP)


def list_opts() -> list[tuple[cfg.OptGroup, list[cfg.Opt]]]:
    """Return the options for oslo-config-generator."""
    return [(GROUP, OPTIONS)]
