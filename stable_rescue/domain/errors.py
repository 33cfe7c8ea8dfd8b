# SPDX-License-Identifier: Apache-2.0
"""What can be wrong with a definition, or with what is asked of it."""


class DomainError(Exception):
    """Base of all errors that leave :mod:`stable_rescue.domain`."""


class InvalidDomain(DomainError):
    """The input is no libvirt domain definition that may be worked on."""


class Refused(DomainError):
    """This domain cannot carry this rescue; the text is fit for its owner."""


class InvariantBroken(DomainError):
    """A derived definition differs from its original by more than its edits.

    It is always a fault of this package, and is raised before anything is touched.
    """
