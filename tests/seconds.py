# SPDX-License-Identifier: Apache-2.0
"""How long classes of tests take, so that stestr's workers end at the same time.

stestr shares tests among its workers by the times of earlier runs. A new clone has
none, and no time includes what a class does before its first test.
"""

from collections import Counter
from collections.abc import Iterable, Mapping

#: Seconds of a worker, with three workers on two cores, of each class that takes long.
#: Only the proportions matter.
OF_CLASSES: Mapping[str, float] = {
    "tests.integration.faults.test_matrix.RescueOfRunningTest": 53,
    "tests.integration.faults.test_matrix.RescueOfStoppedTest": 50,
    "tests.integration.faults.test_matrix.RescueOfUefiTest": 28,
    "tests.integration.faults.test_matrix.UnrescueOfRunningTest": 73,
    "tests.integration.faults.test_matrix.UnrescueOfStoppedTest": 37,
    "tests.integration.faults.test_matrix.UnrescueOfUefiTest": 35,
    "tests.integration.test_boots.PcTest": 85,
    "tests.integration.test_boots.Q35Test": 75,
    "tests.integration.test_commands.CommandsTest": 33,
    "tests.integration.test_disk_full.DiskFullTest": 15,
    "tests.integration.test_diverged.DivergedTest": 12,
    "tests.integration.test_iscsi.IscsiTest": 28,
    "tests.integration.test_matrix.PcVersionsTest": 6,
    "tests.integration.test_matrix.Q35VersionsTest": 7,
    "tests.integration.test_quarantine.QuarantineTest": 30,
    "tests.integration.test_rich.RichTest": 8,
    "tests.integration.test_uefi.BlankDiskTest": 26,
    "tests.integration.test_uefi.EntryKeptOnSataTest": 60,
    "tests.integration.test_uefi.EntryKeptTest": 80,
}


def of_tests(
    test_ids: Iterable[str], recorded: Mapping[str, float]
) -> dict[str, float]:
    """Return the expected seconds of each test.

    If the table has the class of a test, its time is an equal share of the class's.

    :param recorded: the times of earlier runs, for the other classes
    """
    class_of = {test_id: test_id.rpartition(".")[0] for test_id in test_ids}
    counts = Counter(class_of.values())
    return {
        test_id: OF_CLASSES[name] / counts[name]
        if name in OF_CLASSES
        else recorded.get(test_id, 0.0)
        for test_id, name in class_of.items()
    }
