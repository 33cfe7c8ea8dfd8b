# SPDX-License-Identifier: Apache-2.0
"""The private methods of Nova that classes of stable rescue override."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Hook:
    """A private method of Nova, and the class of stable rescue that overrides it.

    ``releases`` are the releases of Nova whose code was read for this: the method has
    the same signature and is called at the same moment.
    """

    owner: str
    name: str
    overridden_by: str
    why: str
    releases: tuple[int, ...] = (31, 32, 33, 34)


#: A unit test compares this list with the classes and with the installed Nova.
HOOKS = (
    Hook(
        "ComputeManager",
        "_destroy_evacuated_instances",
        "RecoveryMixin",
        "Nova calls it when nova-compute starts, before _init_instance; the instances "
        "that it returns are on another host now, so they are not recovered",
    ),
    Hook(
        "ComputeManager",
        "_get_power_state",
        "StableRescueMixin",
        "Nova calls it after unrescue, between setting ACTIVE and saving it; a server "
        "that was stopped before the rescue becomes STOPPED here (U18)",
    ),
    Hook(
        "ComputeManager",
        "_init_instance",
        "RecoveryMixin",
        "Nova calls it for each instance when nova-compute starts; an interrupted "
        "rescue is recovered before Nova takes it for a lost guest (U24)",
    ),
    Hook(
        "ComputeManager",
        "_poll_rescued_instances",
        "ComputeManager",
        "Nova's periodic task stops at the first server that it fails to unrescue, "
        "and reads the start of a rescue from launched_at (U29)",
    ),
    Hook(
        "ComputeManager",
        "_power_off_instance",
        "StableRescueMixin",
        "Nova calls it before the driver's rescue; the driver itself shuts the guest "
        "down, later",
    ),
    Hook(
        "ComputeManager",
        "_set_instance_obj_error_state",
        "StableRescueMixin",
        "Nova calls it if anything fails in a rescue or an unrescue; after a rollback, "
        "the server is not in error (U7)",
    ),
    Hook(
        "LibvirtDriver",
        "_hard_reboot",
        "LifecycleMixin",
        "Nova calls it for a hard reboot and to start a server that is off; since Nova "
        "33 it takes the firmware's files from the definition in libvirt, which must "
        "not be a rescue's (U31)",
    ),
    Hook(
        "LibvirtDriver",
        "_volume_snapshot_create",
        "VolumeOperationsMixin",
        "Nova calls it for a volume that is a file, in any state of the server; a "
        "snapshot of an overlay would be lost with the rescue (E8)",
    ),
    Hook(
        "LibvirtDriver",
        "_volume_snapshot_delete",
        "VolumeOperationsMixin",
        "Nova calls it for a volume that is a file, in any state of the server; an "
        "overlay must not be merged with its volume (E8)",
    ),
)
