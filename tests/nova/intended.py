# SPDX-License-Identifier: Apache-2.0

"""The complete list of intended differences: tests of Nova that stable rescue fails.

A listed test must fail with the given failure, and must exist in every given release of
Nova. All other tests must pass. ``tests.nova.test_intended`` verifies that each
difference is about rescue or unrescue. To print the list, run::

    python -m tests.nova.intended
"""

from dataclasses import dataclass

from tests.release import RELEASE

DRIVER_TESTS = "nova.tests.unit.virt.libvirt.test_driver."
COMPUTE_TESTS = "nova.tests.unit.compute."


@dataclass(frozen=True)
class Difference:
    """A test of Nova that fails with the classes of stable rescue."""

    #: The number of the improvement that the test contradicts.
    number: str
    #: The test case, with its module.
    case: str
    method: str
    #: A regular expression that matches the failure or one of its causes.
    failure: str
    reason: str
    #: The first and the last release of Nova that has the test.
    first_release: int = 31
    last_release: int = 34

    @property
    def in_this_release(self) -> bool:
        """True if the installed Nova has the test."""
        return self.first_release <= RELEASE <= self.last_release


_READS_SYSTEM_METADATA = (
    "the manager of stable rescue chooses the rescue image from the instance's "
    "system_metadata; the test's instance has none, and no database"
)
_CHECKS_IMAGE = (
    "StableRescueDriver checks the rescue image's status, firmware and requirements in "
    "Glance; the test has no Glance, because Nova does not check the image"
)
_PARSES_UNRESCUE_XML = (
    "StableRescueDriver reads unrescue.xml before it calls Nova's unrescue, and builds "
    "the definition if the file is missing; the test has no file, and a guest without "
    "a uuid"
)

INTENDED = (
    Difference(
        "U7",
        DRIVER_TESTS + "LibvirtConnTestCase",
        "test_public_api_signatures",
        r"actual\s+= \[('\w*rescue\w*'(,\s+)?)+\]\s+: public APIs not listed",
        "the manager prepares a rescue before it powers off the guest, so the driver "
        "has additional methods; test_contract compares all others",
    ),
    Difference(
        "U26",
        COMPUTE_TESTS + "test_compute_mgr.ComputeManagerUnitTestCase",
        "test_rescue",
        "it does not claim to use the database",
        _READS_SYSTEM_METADATA,
    ),
    Difference(
        "U26",
        COMPUTE_TESTS + "test_compute_mgr.ComputeManagerUnitTestCase",
        "test_rescue_forced_shutdown",
        "it does not claim to use the database",
        _READS_SYSTEM_METADATA,
    ),
    Difference(
        "U24",
        COMPUTE_TESTS + "test_compute_mgr.ComputeManagerUnitTestCase",
        "test_unrescue",
        "it does not claim to use the database",
        "the manager reads the instance again, and drops a rescue that was canceled "
        "before it arrived; the test has no database",
    ),
    Difference(
        "U24",
        COMPUTE_TESTS + "test_compute.ComputeTestCase",
        "test_rescue_handle_err",
        "InstanceNotRescuable not raised",
        "the manager drops a rescue that was canceled before it arrived; the test's "
        "instance is not rescuing",
    ),
    Difference(
        "U19",
        DRIVER_TESTS + "LibvirtDriverTestCase",
        "test_unrescue",
        "the definition has no <uuid>",
        _PARSES_UNRESCUE_XML,
    ),
    Difference(
        "U19",
        DRIVER_TESTS + "LibvirtDriverTestCase",
        "test_unrescue_rbd",
        "the definition has no <uuid>",
        _PARSES_UNRESCUE_XML,
    ),
    Difference(
        "U12",
        DRIVER_TESTS + "LibvirtDriverTestCase",
        "test_rescue_stable_device",
        "The service catalog is empty",
        _CHECKS_IMAGE,
    ),
    Difference(
        "U12",
        DRIVER_TESTS + "LibvirtDriverTestCase",
        "test_rescue_stable_device_bfv",
        "The service catalog is empty",
        _CHECKS_IMAGE,
    ),
    Difference(
        "U12",
        DRIVER_TESTS + "LibvirtDriverTestCase",
        "test_rescue_stable_device_with_volume_attached",
        "The service catalog is empty",
        _CHECKS_IMAGE,
    ),
    Difference(
        "U6",
        DRIVER_TESTS + "LibvirtDriverTestCase",
        "test_rescue_stable_device_bfv_without_instance_image_ref",
        "'_SentinelObject' object has no attribute 'get'",
        "the test's Glance has only the server's original image; StableRescueDriver "
        "needs the rescue image and never the original one",
    ),
)


def differences_of(case: str) -> list[Difference]:
    """Return the differences of a test case in this release.

    :param case: the name of the test case, with its module
    """
    return [
        difference
        for difference in INTENDED
        if difference.case == case and difference.in_this_release
    ]


def main() -> None:
    """Print the differences in this release and their number."""
    differences = [each for each in INTENDED if each.in_this_release]
    for difference in differences:
        print(f"{difference.number:4} {difference.case}.{difference.method}")
        print(f"     {difference.reason}")
    print(f"{len(differences)} intended differences from the tests of Nova {RELEASE}")


if __name__ == "__main__":
    main()
