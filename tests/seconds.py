# SPDX-License-Identifier: Apache-2.0
"""How long classes of tests take, so that stestr's workers end at the same time.

stestr shares tests among its workers by the times of earlier runs. A new clone has
none. They leave out what a class does before its first test, and a worker's first test
takes longer than it would later.
"""

from collections import Counter
from collections.abc import Iterable, Mapping

#: Seconds of a worker, on two cores, of each class that takes long, with its set-up.
#: Only proportions within a level matter.
OF_CLASSES: Mapping[str, float] = {
    "tests.functional.activation.test_faults.TestFaults": 47,
    "tests.functional.activation.test_layouts.TestBothEditable": 10,
    "tests.functional.activation.test_layouts.TestBothWheels": 15,
    "tests.functional.activation.test_layouts.TestNovaEditable": 14,
    "tests.functional.activation.test_layouts.TestStableRescueEditable": 10,
    "tests.functional.activation.test_layouts.TestTwoSites": 13,
    "tests.functional.faults.test_discard.DiscardTest": 10,
    "tests.functional.faults.test_discard.UnrescueTest": 13,
    "tests.functional.faults.test_each_kind.EachKindTest": 8,
    "tests.functional.faults.test_evacuated.EvacuatedTest": 43,
    "tests.functional.faults.test_hung_volume.HungVolumeTest": 11,
    "tests.functional.faults.test_lost_record.LostRecordTest": 11,
    "tests.functional.faults.test_matrix.RescueOfRunningTest": 54,
    "tests.functional.faults.test_matrix.RescueOfStoppedTest": 40,
    "tests.functional.faults.test_matrix.UnrescueOfRunningTest": 25,
    "tests.functional.faults.test_matrix.UnrescueOfStoppedTest": 21,
    "tests.functional.faults.test_media.FilesTest": 18,
    "tests.functional.faults.test_media.RescueOnRbdTest": 19,
    "tests.functional.faults.test_media.UnrescueOnRbdTest": 16,
    "tests.functional.faults.test_rebooted_host.RescueTest": 15,
    "tests.functional.faults.test_rebooted_host.UnrescueTest": 16,
    "tests.functional.faults.test_recovery.BeginningTest": 10,
    "tests.functional.faults.test_recovery.EndingTest": 13,
    "tests.functional.faults.test_stock.StockRescueTest": 9,
    "tests.functional.faults.test_stock.StockUnrescueTest": 10,
    "tests.functional.faults.test_uefi.RescueTest": 11,
    "tests.functional.faults.test_uefi.UnrescueTest": 12,
    "tests.functional.model.test_counterexamples.CounterexampleTest": 24,
    "tests.functional.model.test_discard.DiscardingLifeTest": 17,
    "tests.functional.model.test_life.FirstLifeTest": 39,
    "tests.functional.model.test_life.FourthLifeTest": 47,
    "tests.functional.model.test_life.SecondLifeTest": 44,
    "tests.functional.model.test_life.ThirdLifeTest": 52,
    "tests.functional.races.test_recovery.RecoveryRaceTest": 74,
    "tests.functional.races.test_rescue.RescueRaceTest": 99,
    "tests.functional.races.test_unrescue.UnrescueRaceTest": 40,
    "tests.functional.test_boot_proof.BootProofTest": 10,
    "tests.functional.test_changed_meanwhile.ChangedMeanwhileTest": 10,
    "tests.functional.test_commands.CommandsTest": 11,
    "tests.functional.test_concurrency.DeletedMeanwhileTest": 19,
    "tests.functional.test_concurrency.ManyTest": 33,
    "tests.functional.test_config_drive.ServerWithDriveTest": 9,
    "tests.functional.test_config_drive.ServerWithoutDriveTest": 9,
    "tests.functional.test_discard.DiscardTest": 13,
    "tests.functional.test_discard.DiscardWithVolumesTest": 14,
    "tests.functional.test_earlier_record.EarlierRecordTest": 9,
    "tests.functional.test_failures.FailedTest": 12,
    "tests.functional.test_failures.ForeignStateTest": 10,
    "tests.functional.test_failures.UnreadableDirectoryTest": 9,
    "tests.functional.test_images.HostileImageTest": 9,
    "tests.functional.test_images.ImageCacheTest": 54,
    "tests.functional.test_images.ImageChoiceTest": 8,
    "tests.functional.test_medium.FlatMediumTest": 26,
    "tests.functional.test_medium.MediumTest": 21,
    "tests.functional.test_monitoring.MetricsTest": 8,
    "tests.functional.test_outdated.OperatorTest": 9,
    "tests.functional.test_packaging.TestPackage": 18,
    "tests.functional.test_plan_command.PlanTest": 24,
    "tests.functional.test_plan_storage.PlanImagesTest": 17,
    "tests.functional.test_recover_command.RecoverTest": 21,
    "tests.functional.test_restart.HostRebootTest": 9,
    "tests.functional.test_restart.RestartTest": 14,
    "tests.functional.test_serial_console.SerialConsoleTest": 19,
    "tests.functional.test_shared_setup.SharedSetUpTest": 10,
    "tests.functional.test_snapshots.SnapshotTest": 10,
    "tests.functional.test_stalled.StalledTest": 10,
    "tests.functional.test_stock_rescue.StockRescueTest": 10,
    "tests.functional.test_unrescue.DeletedPortTest": 9,
    "tests.functional.test_volumes.StoppedTest": 9,
    "tests.integration.faults.test_discard.RescueDiscardingTest": 12,
    "tests.integration.faults.test_discard.UnrescueDiscardingTest": 15,
    "tests.integration.faults.test_matrix.RescueOfRunningTest": 60,
    "tests.integration.faults.test_matrix.RescueOfStoppedTest": 52,
    "tests.integration.faults.test_matrix.RescueOfUefiTest": 33,
    "tests.integration.faults.test_matrix.UnrescueOfRunningTest": 71,
    "tests.integration.faults.test_matrix.UnrescueOfStoppedTest": 35,
    "tests.integration.faults.test_matrix.UnrescueOfUefiTest": 25,
    "tests.integration.test_boots.PcTest": 120,
    "tests.integration.test_boots.Q35Test": 96,
    "tests.integration.test_commands.CommandsTest": 38,
    "tests.integration.test_discard.DiscardTest": 42,
    "tests.integration.test_disk_full.DiskFullTest": 17,
    "tests.integration.test_diverged.DivergedTest": 13,
    "tests.integration.test_iscsi.IscsiTest": 31,
    "tests.integration.test_matrix.PcBiosTest": 22,
    "tests.integration.test_matrix.PcUefiTest": 21,
    "tests.integration.test_matrix.PcVersionsTest": 9,
    "tests.integration.test_matrix.Q35BiosTest": 28,
    "tests.integration.test_matrix.Q35SecureBootTest": 20,
    "tests.integration.test_matrix.Q35UefiTest": 23,
    "tests.integration.test_matrix.Q35VersionsTest": 9,
    "tests.integration.test_passthrough.PassthroughTest": 6,
    "tests.integration.test_rich.RichTest": 10,
    "tests.integration.test_stock.StockRescueTest": 7,
    "tests.integration.test_uefi.BlankDiskTest": 31,
    "tests.integration.test_uefi.EntryKeptTest": 144,
    "tests.nova.test_contract.TestContract": 28,
    "tests.nova.test_rescue.TestShares": 49,
    "tests.nova.test_rescue.TestStatelessFirmware": 45,
    "tests.unit.cmd.test_list.ListTest": 4,
    "tests.unit.cmd.test_list.ProcessTest": 5,
    "tests.unit.cmd.test_plan.PlanCommandTest": 8,
    "tests.unit.cmd.test_status.CommandTest": 8,
    "tests.unit.domain.test_hostile.HostileTest": 7,
    "tests.unit.domain.test_properties.PropertiesTest": 12,
    "tests.unit.test_runner.RunnerTest": 11,
}

#: Seconds of a test of another class, by its folder; 1 for what cannot be imported.
OF_OTHERS: Mapping[str, float] = {
    "tests.functional": 2.0,
    "tests.integration": 0.9,
    "tests.nova": 0.1,
    "tests.unit": 0.02,
}


def of_tests(test_ids: Iterable[str]) -> dict[str, float]:
    """Return the expected seconds of each test.

    If the table has the class of a test, its time is an equal share of the class's.
    """
    class_of = {test_id: test_id.rpartition(".")[0] for test_id in test_ids}
    counts = Counter(class_of.values())
    return {
        test_id: OF_CLASSES[name] / counts[name]
        if name in OF_CLASSES
        else OF_OTHERS.get(".".join(name.split(".")[:2]), 1.0)
        for test_id, name in class_of.items()
    }
