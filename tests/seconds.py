# SPDX-License-Identifier: Apache-2.0
"""How long classes of tests take, so that stestr's workers end at the same time.

stestr shares tests among its workers by the times of earlier runs. A new clone has
none, and no time includes what a class does before its first test.
"""

from collections import Counter
from collections.abc import Iterable, Mapping

#: Seconds of a worker, on two cores, of each class that takes long. Only proportions
#: within a level matter.
OF_CLASSES: Mapping[str, float] = {
    "tests.functional.activation.test_faults.TestFaults": 61,
    "tests.functional.activation.test_layouts.TestBothEditable": 26,
    "tests.functional.activation.test_layouts.TestBothWheels": 24,
    "tests.functional.activation.test_layouts.TestNovaEditable": 26,
    "tests.functional.activation.test_layouts.TestStableRescueEditable": 15,
    "tests.functional.activation.test_layouts.TestTwoSites": 16,
    "tests.functional.faults.test_discard.DiscardTest": 15,
    "tests.functional.faults.test_discard.UnrescueTest": 13,
    "tests.functional.faults.test_error.ErrorByOperatorTest": 11,
    "tests.functional.faults.test_evacuated.EvacuatedTest": 60,
    "tests.functional.faults.test_hung_volume.HungVolumeTest": 13,
    "tests.functional.faults.test_lost_record.LostRecordTest": 14,
    "tests.functional.faults.test_matrix.RescueOfRunningTest": 42,
    "tests.functional.faults.test_matrix.RescueOfStoppedTest": 59,
    "tests.functional.faults.test_matrix.UnrescueOfRunningTest": 41,
    "tests.functional.faults.test_matrix.UnrescueOfStoppedTest": 24,
    "tests.functional.faults.test_media.FilesTest": 30,
    "tests.functional.faults.test_media.RescueOnRbdTest": 26,
    "tests.functional.faults.test_media.UnrescueOnRbdTest": 19,
    "tests.functional.faults.test_rebooted_host.RescueTest": 23,
    "tests.functional.faults.test_rebooted_host.RollbackTest": 10,
    "tests.functional.faults.test_rebooted_host.UnrescueTest": 32,
    "tests.functional.faults.test_recovery.BeginningTest": 15,
    "tests.functional.faults.test_recovery.EndingTest": 20,
    "tests.functional.faults.test_stock.StockRescueTest": 13,
    "tests.functional.faults.test_stock.StockUnrescueTest": 16,
    "tests.functional.faults.test_uefi.RescueTest": 18,
    "tests.functional.faults.test_uefi.UnrescueTest": 18,
    "tests.functional.model.test_counterexamples.CounterexampleTest": 20,
    "tests.functional.model.test_discard.DiscardingLifeTest": 18,
    "tests.functional.model.test_life.FirstLifeTest": 52,
    "tests.functional.model.test_life.FourthLifeTest": 52,
    "tests.functional.model.test_life.SecondLifeTest": 52,
    "tests.functional.model.test_life.ThirdLifeTest": 66,
    "tests.functional.races.test_recovery.RecoveryRaceTest": 90,
    "tests.functional.races.test_rescue.RescueRaceTest": 118,
    "tests.functional.races.test_unrescue.UnrescueRaceTest": 49,
    "tests.functional.test_concurrency.DeletedMeanwhileTest": 19,
    "tests.functional.test_concurrency.ManyTest": 38,
    "tests.functional.test_images.ImageCacheTest": 31,
    "tests.functional.test_medium.FlatMediumTest": 13,
    "tests.functional.test_packaging.TestPackage": 40,
    "tests.integration.faults.test_discard.RescueDiscardingTest": 20,
    "tests.integration.faults.test_discard.UnrescueDiscardingTest": 10,
    "tests.integration.faults.test_matrix.RescueOfRunningTest": 47,
    "tests.integration.faults.test_matrix.RescueOfStoppedTest": 44,
    "tests.integration.faults.test_matrix.RescueOfUefiTest": 24,
    "tests.integration.faults.test_matrix.UnrescueOfRunningTest": 47,
    "tests.integration.faults.test_matrix.UnrescueOfStoppedTest": 24,
    "tests.integration.faults.test_matrix.UnrescueOfUefiTest": 20,
    "tests.integration.test_boots.PcTest": 80,
    "tests.integration.test_boots.Q35Test": 71,
    "tests.integration.test_commands.CommandsTest": 22,
    "tests.integration.test_discard.DiscardTest": 40,
    "tests.integration.test_disk_full.DiskFullTest": 8,
    "tests.integration.test_diverged.DivergedTest": 12,
    "tests.integration.test_iscsi.IscsiTest": 22,
    "tests.integration.test_matrix.PcVersionsTest": 6,
    "tests.integration.test_matrix.Q35VersionsTest": 7,
    "tests.integration.test_rich.RichTest": 8,
    "tests.integration.test_uefi.BlankDiskTest": 26,
    "tests.integration.test_uefi.EntryKeptTest": 125,
}

#: Seconds of a test of another class that stestr has no time of.
OF_OTHERS = 1.0


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
        else recorded.get(test_id, OF_OTHERS)
        for test_id, name in class_of.items()
    }
