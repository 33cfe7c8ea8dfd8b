# SPDX-License-Identifier: Apache-2.0
"""The exceptions of stable rescue; ``virt.refusal`` turns them into Nova's."""


class StableRescueError(Exception):
    """Base class of all exceptions of stable rescue."""


class Refused(StableRescueError):
    """The rescue is not possible; the text is a reason for the server's owner."""


class NotPlanned(StableRescueError):
    """A rescue cannot be planned in advance; the text is a reason for the operator."""


class NoRoom(Refused):
    """A bus of the machine has no free place, or none after its last device."""


class InvalidDomain(StableRescueError):
    """The input is not a usable libvirt domain definition."""


class InvariantBroken(StableRescueError):
    """A derived definition differs from the original by more than its edits.

    This is always a bug in stable rescue. The check is made before any change.
    """


class NotAccepted(StableRescueError):
    """libvirt rejects a rescue definition; the cause has libvirt's reason."""


class InvalidRecord(StableRescueError):
    """The record of a rescue cannot be read."""
