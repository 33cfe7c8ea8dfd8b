# SPDX-License-Identifier: Apache-2.0
"""A rescue keeps every element that libvirt accepts in a definition."""

from typing import ClassVar

from tests.integration import base, matrix, rich
from tests.integration.matrix import Judge

_PC_BUSES = ("virtio", "scsi", "usb", "ide")
_Q35_BUSES = ("virtio", "scsi", "usb", "sata")


class RichTest(base.TestCase):
    """Consoles (U21) and the I/O settings of disks (F35) stay, like all else."""

    #: libvirt 9.0 does not know crypto, and takes launchSecurity on some hosts only.
    MAY_LACK: ClassVar = {"crypto", "launchSecurity"}

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        for secret in rich.define_secrets():
            cls.addClassCleanup(secret.undefine)

    def check_all_elements_are_kept(
        self, machine: str, buses: tuple[str, ...], hardware: bool = False
    ) -> None:
        domain, rejected = rich.define(machine, hardware)
        self.addCleanup(matrix.undefine, domain)
        lacking = {reason.split(":")[0].split()[0] for reason in rejected}
        self.assertLessEqual(lacking, self.MAY_LACK, rejected)
        original_xml = base.definition(domain)
        self.assertIn("<!-- inside -->", original_xml)
        judge = Judge(original_xml, command_line=not hardware)
        for bus in buses:
            with self.subTest(f"{machine} {bus}"):
                self.assertEqual(("", ()), judge.case(domain, "disk", bus))

    def test_rescue_of_pc_keeps_every_element(self):
        self.check_all_elements_are_kept("pc", _PC_BUSES)

    def test_rescue_of_q35_keeps_every_element(self):
        self.check_all_elements_are_kept("q35", _Q35_BUSES)

    def test_rescue_of_pc_keeps_hardware_elements(self):
        self.check_all_elements_are_kept("pc", _PC_BUSES, hardware=True)

    def test_rescue_of_q35_keeps_hardware_elements(self):
        self.check_all_elements_are_kept("q35", _Q35_BUSES, hardware=True)
