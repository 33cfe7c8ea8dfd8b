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
    "tests.functional.activation.test_faults.TestFaults": 45,
    "tests.functional.activation.test_layouts.TestBothEditable": 11,
    "tests.functional.activation.test_layouts.TestBothWheels": 16,
    "tests.functional.activation.test_layouts.TestNovaEditable": 14,
    "tests.functional.activation.test_layouts.TestStableRescueEditable": 16,
    "tests.functional.activation.test_layouts.TestTwoSites": 10,
    "tests.functional.faults.test_discard.DiscardTest": 10,
    "tests.functional.faults.test_discard.UnrescueTest": 11,
    "tests.functional.faults.test_evacuated.EvacuatedTest": 48,
    "tests.functional.faults.test_hung_volume.HungVolumeTest": 10,
    "tests.functional.faults.test_lost_record.LostRecordTest": 9,
    "tests.functional.faults.test_matrix.RescueOfRunningTest": 40,
    "tests.functional.faults.test_matrix.RescueOfStoppedTest": 48,
    "tests.functional.faults.test_matrix.UnrescueOfRunningTest": 30,
    "tests.functional.faults.test_matrix.UnrescueOfStoppedTest": 31,
    "tests.functional.faults.test_media.FilesTest": 24,
    "tests.functional.faults.test_media.RescueOnRbdTest": 21,
    "tests.functional.faults.test_media.UnrescueOnRbdTest": 16,
    "tests.functional.faults.test_memory_dump.DumpTest": 16,
    "tests.functional.faults.test_memory_dump.RecoveryTest": 11,
    "tests.functional.faults.test_port_taken.PortTakenTest": 8,
    "tests.functional.faults.test_rebooted_host.RescueTest": 13,
    "tests.functional.faults.test_rebooted_host.UnrescueTest": 16,
    "tests.functional.faults.test_recovery.BeginningTest": 9,
    "tests.functional.faults.test_recovery.EndingTest": 13,
    "tests.functional.faults.test_uefi.RescueTest": 8,
    "tests.functional.faults.test_uefi.UnrescueTest": 11,
    "tests.functional.model.test_counterexamples.CounterexampleTest": 19,
    "tests.functional.model.test_discard.DiscardingLifeTest": 13,
    "tests.functional.model.test_life.FirstLifeTest": 30,
    "tests.functional.model.test_life.FourthLifeTest": 32,
    "tests.functional.model.test_life.SecondLifeTest": 34,
    "tests.functional.model.test_life.ThirdLifeTest": 45,
    "tests.functional.races.test_recovery.RecoveryRaceTest": 70,
    "tests.functional.races.test_rescue.RescueRaceTest": 78,
    "tests.functional.races.test_unrescue.UnrescueRaceTest": 43,
    "tests.functional.test_changed_meanwhile.ChangedMeanwhileTest": 10,
    "tests.functional.test_commands.CommandsTest": 12,
    "tests.functional.test_concurrency.DeletedMeanwhileTest": 18,
    "tests.functional.test_concurrency.ManyTest": 24,
    "tests.functional.test_config_drive.ServerWithDriveTest": 10,
    "tests.functional.test_config_drive.ServerWithoutDriveTest": 9,
    "tests.functional.test_discard.DiscardTest": 11,
    "tests.functional.test_discard.DiscardWithVolumesTest": 13,
    "tests.functional.test_driver_alone.DriverAloneTest": 10,
    "tests.functional.test_earlier_record.EarlierRecordTest": 11,
    "tests.functional.test_failures.FailedTest": 12,
    "tests.functional.test_failures.ForeignStateTest": 11,
    "tests.functional.test_images.HostileImageTest": 8,
    "tests.functional.test_images.ImageCacheTest": 17,
    "tests.functional.test_medium.FlatMediumTest": 25,
    "tests.functional.test_medium.MediumTest": 19,
    "tests.functional.test_memory_dump.DumpTest": 9,
    "tests.functional.test_plan_command.PlanTest": 16,
    "tests.functional.test_plan_storage.PlanImagesTest": 12,
    "tests.functional.test_recover_command.RecoverTest": 16,
    "tests.functional.test_restart.RestartTest": 9,
    "tests.functional.test_serial_console.SerialConsoleTest": 11,
    "tests.functional.test_shared_setup.SharedSetUpTest": 9,
    "tests.functional.test_typed_commands.TypedCommandsTest": 15,
    "tests.functional.test_volumes.StoppedTest": 10,
    "tests.integration.faults.test_discard.RescueDiscardingTest": 11,
    "tests.integration.faults.test_discard.UnrescueDiscardingTest": 12,
    "tests.integration.faults.test_matrix.RescueOfRunningTest": 51,
    "tests.integration.faults.test_matrix.RescueOfStoppedTest": 44,
    "tests.integration.faults.test_matrix.RescueOfUefiTest": 25,
    "tests.integration.faults.test_matrix.UnrescueOfRunningTest": 54,
    "tests.integration.faults.test_matrix.UnrescueOfStoppedTest": 28,
    "tests.integration.faults.test_matrix.UnrescueOfUefiTest": 20,
    "tests.integration.faults.test_memory_dump.RescueDumpingTest": 11,
    "tests.integration.test_boots.PcTest": 95,
    "tests.integration.test_boots.Q35Test": 102,
    "tests.integration.test_commands.CommandsTest": 29,
    "tests.integration.test_discard.DiscardTest": 39,
    "tests.integration.test_disk_full.DiskFullTest": 16,
    "tests.integration.test_diverged.DivergedTest": 13,
    "tests.integration.test_iscsi.IscsiTest": 32,
    "tests.integration.test_matrix.PcBiosTest": 20,
    "tests.integration.test_matrix.PcUefiTest": 25,
    "tests.integration.test_matrix.PcVersionsTest": 8,
    "tests.integration.test_matrix.Q35BiosTest": 22,
    "tests.integration.test_matrix.Q35SecureBootTest": 19,
    "tests.integration.test_matrix.Q35UefiTest": 21,
    "tests.integration.test_matrix.Q35VersionsTest": 7,
    "tests.integration.test_memory_dump.LinuxTest": 27,
    "tests.integration.test_rich.RichTest": 9,
    "tests.integration.test_uefi.BlankDiskTest": 25,
    "tests.integration.test_uefi.EntryKeptTest": 130,
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
    "tests.functional": 1.6,
    "tests.integration": 1.1,
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
