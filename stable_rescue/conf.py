# SPDX-License-Identifier: Apache-2.0
"""The [stable_rescue] options of nova.conf."""

from oslo_config import cfg

from stable_rescue import properties

GROUP = cfg.OptGroup(
    "stable_rescue",
    title="Stable rescue",
    help="How the stable_rescue compute driver rescues servers.",
)

OPTIONS = [
    cfg.StrOpt(
        "default_mode",
        default="legacy",
        choices=[
            ("legacy", "Nova's own rescue, as without this driver"),
            ("stable", "a stable rescue by default_device and default_bus"),
        ],
        help="How to rescue with an image that has neither hw_rescue_device nor "
        "hw_rescue_bus.",
    ),
    cfg.StrOpt(
        "default_device",
        default="disk",
        choices=properties.DEVICES,
        help="The rescue device where default_mode is stable.",
    ),
    cfg.StrOpt(
        "default_bus",
        choices=properties.BUSES,
        help="The rescue device's bus where default_mode is stable. Without it, a "
        "disk takes the bus of the server's root disk and a cdrom what the server's "
        "machine has.",
    ),
    cfg.ListOpt(
        "fallback_buses",
        default=[],
        item_type=cfg.types.String(choices=properties.BUSES),
        help="Buses to try, in this order, where the one that the rescue asks for "
        "has no room left. Empty: such a rescue is refused.",
    ),
    cfg.BoolOpt(
        "allow_gaps",
        default=False,
        help="Where there is room only between the server's own devices, put the "
        "rescue disk there. No device moves, but disks behind the gap change their "
        "names in the guest (vdb becomes vdc) while it is rescued.",
    ),
    cfg.StrOpt(
        "config_drive",
        default="keep",
        choices=[
            ("keep", "a server that has one sees it made anew, with the password"),
            ("always", "a server that has none sees one while it is rescued, too"),
        ],
        help="Which servers have a config drive while they are rescued. One that is "
        "added comes behind all devices of the server, as the rescue disk does, and "
        "goes with it.",
    ),
    cfg.IntOpt(
        "max_medium_size",
        default=100,
        min=0,
        help="The largest virtual size of a rescue image, in GiB; 0: any. An image "
        "of a few kilobytes can have a virtual size of many terabytes, which Nova "
        "writes out when it converts the image to raw. A larger one is refused "
        "before it is fetched.",
    ),
    cfg.IntOpt(
        "volume_connect_workers",
        default=4,
        min=1,
        help="How many volumes of a server to connect to the host, or to check, at "
        "once. os-brick still connects volumes of one kind one by one where that is "
        "needed (iSCSI, FC, NVMe-oF, ScaleIO).",
    ),
    cfg.BoolOpt(
        "allow_mapping_mismatch",
        default=False,
        help="Rescue also where the disks in a server's definition are not those of "
        "its block device mapping in Nova's database: a volume that was detached, or a "
        "disk that was added, behind Nova's back. The rescue has what the definition "
        "has; the difference is logged. Without it, such a rescue is refused.",
    ),
    cfg.IntOpt(
        "recovery_workers",
        default=4,
        min=1,
        help="How many servers whose rescue was cut short nova-compute brings to rest "
        "at once when it starts.",
    ),
    cfg.IntOpt(
        "recovery_timeout",
        default=60,
        min=0,
        help="How many seconds the start of nova-compute waits for that. What takes "
        "longer goes on behind it; those servers are initialized when it is done.",
    ),
    cfg.IntOpt(
        "stalled_after",
        deprecated_name="abandoned_after",
        default=120,
        min=0,
        help="Seconds after which a stalled rescue or unrescue is recovered. A server "
        "is stalled if it is rescuing or unrescuing, or is not rescued but has the "
        "record of a rescue, and nova-compute is not working on it, for example "
        "because the message queue lost the request. With 0, such a server is "
        "recovered at the next start of nova-compute.",
    ),
]


def register_opts(conf: cfg.ConfigOpts) -> None:
    """Register the options; doing it twice is harmless."""
    conf.register_group(GROUP)
    conf.register_opts(OPTIONS, group=GROUP)


def list_opts() -> list[tuple[cfg.OptGroup, list[cfg.Opt]]]:
    """Return the options for oslo-config-generator."""
    return [(GROUP, OPTIONS)]
