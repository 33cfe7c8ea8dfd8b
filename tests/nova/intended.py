# SPDX-License-Identifier: Apache-2.0

"""What we change on purpose of what Nova's own tests assert: the one list of it.

A test that stands here has to fail, in the way that is told, and to be there in each
release of Nova that is told; every other test has to pass. All of it is about rescue
and unrescue (``tests.nova.test_intended``). To print it::

    python -m tests.nova.intended
"""

from dataclasses import dataclass

from tests.release import RELEASE

LIBVIRT = "nova.tests.unit.virt.libvirt.test_driver."
COMPUTE = "nova.tests.unit.compute."


@dataclass(frozen=True)
class Change:
    """A test of Nova's that fails with ours.

    ``requirement`` is the number, as in UPSTREAM, of what ours does better.
    ``failure`` is a regular expression found in the failure, or in what caused it.
    ``since`` and ``until`` are the first and the last release that has the test.
    """

    requirement: str
    case: str
    method: str
    failure: str
    reason: str
    since: int = 31
    until: int = 34

    @property
    def in_this_release(self) -> bool:
        """Whether the Nova that is installed has the test."""
        return self.since <= RELEASE <= self.until


_CHOSEN = (
    "ours chooses the rescue image itself, for which it reads the server's "
    "system_metadata; the test's server has none, nor a database"
)
_CHECKED = (
    "ours checks the rescue image's status, firmware and needs, which Glance tells; "
    "the test has none, as Nova rescues with whatever it is given"
)
_READ_FIRST = (
    "ours reads unrescue.xml before it calls Nova's unrescue, and where there is none "
    "builds the definition anew; the test has no such file, and a guest without a uuid"
)

INTENDED = (
    Change(
        "U7",
        LIBVIRT + "LibvirtConnTestCase",
        "test_public_api_signatures",
        r"actual\s+= \[('\w*rescue\w*'(,\s+)?)+\]\s+: public APIs not listed",
        "our manager has a rescue prepared before the guest is powered off, hence the "
        "driver has methods for it; test_contract compares all others",
    ),
    Change(
        "U26",
        COMPUTE + "test_compute_mgr.ComputeManagerUnitTestCase",
        "test_rescue",
        "it does not claim to use the database",
        _CHOSEN,
    ),
    Change(
        "U26",
        COMPUTE + "test_compute_mgr.ComputeManagerUnitTestCase",
        "test_rescue_forced_shutdown",
        "it does not claim to use the database",
        _CHOSEN,
    ),
    Change(
        "U7",
        COMPUTE + "test_compute.ComputeTestCase",
        "test_rescue_handle_err",
        "Cannot load 'id' in the base class",
        "ours prepares a rescue before it powers the guest off; the test's rescue "
        "image has no id",
    ),
    Change(
        "U19",
        LIBVIRT + "LibvirtDriverTestCase",
        "test_unrescue",
        "the definition has no <uuid>",
        _READ_FIRST,
    ),
    Change(
        "U19",
        LIBVIRT + "LibvirtDriverTestCase",
        "test_unrescue_rbd",
        "the definition has no <uuid>",
        _READ_FIRST,
    ),
    Change(
        "U12",
        LIBVIRT + "LibvirtDriverTestCase",
        "test_rescue_stable_device",
        "The service catalog is empty",
        _CHECKED,
    ),
    Change(
        "U12",
        LIBVIRT + "LibvirtDriverTestCase",
        "test_rescue_stable_device_bfv",
        "The service catalog is empty",
        _CHECKED,
    ),
    Change(
        "U12",
        LIBVIRT + "LibvirtDriverTestCase",
        "test_rescue_stable_device_with_volume_attached",
        "The service catalog is empty",
        _CHECKED,
    ),
    Change(
        "U6",
        LIBVIRT + "LibvirtDriverTestCase",
        "test_rescue_stable_device_bfv_without_instance_image_ref",
        "'_SentinelObject' object has no attribute 'get'",
        "the test has Glance know the server's original image alone; ours never asks "
        "for it, but for the rescue image",
    ),
)


def changes_of(case: str) -> list[Change]:
    """Return what is changed of a test case, named in full, in this release."""
    return [
        change for change in INTENDED if change.case == case and change.in_this_release
    ]


def main() -> None:
    """Print what is changed in this release, and how many tests that is."""
    changes = [change for change in INTENDED if change.in_this_release]
    for change in changes:
        print(f"{change.requirement:4} {change.case}.{change.method}")
        print(f"     {change.reason}")
    print(f"{len(changes)} of Nova {RELEASE}'s own tests are changed on purpose.")


if __name__ == "__main__":
    main()
