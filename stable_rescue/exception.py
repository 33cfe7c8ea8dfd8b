# SPDX-License-Identifier: Apache-2.0
"""The errors of this package. Where Nova is spoken to, they become Nova's."""


class StableRescueError(Exception):
    """Base of all errors of this package."""


class Refused(StableRescueError):
    """This rescue cannot be done; the text is the reason, fit for a tenant."""


class NoRoom(Refused):
    """A bus that the machine has is full, or full behind its last device."""


class InvalidDomain(StableRescueError):
    """The input is no libvirt domain definition that may be worked on."""


class InvariantBroken(StableRescueError):
    """A derived definition differs from its original by more than its edits.

    It is always a fault of this package, and is raised before anything is touched.
    """


class NotAccepted(StableRescueError):
    """Libvirt does not accept a rescue definition; its reason is the cause."""


class InvalidRecord(StableRescueError):
    """The record of a rescue cannot be read."""
