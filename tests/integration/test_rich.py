# SPDX-License-Identifier: Apache-2.0
"""Everything else in a definition survives, whatever it is."""

from typing import ClassVar

from tests.integration import base, matrix, rich
from tests.integration.matrix import Judge


class RichTest(base.TestCase):
    """Servers with all of libvirt's elements that their machine takes."""

    #: What libvirt 9.0 does not know, or not on a host without it.
    MAY_LACK: ClassVar = {"crypto", "launchSecurity"}

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        for secret in rich.define_secrets():
            cls.addClassCleanup(secret.undefine)

    def check(self, machine: str, buses: str, hardware: bool = False) -> None:
        domain, refused = rich.define(machine, hardware)
        self.addCleanup(matrix.remove, domain)
        lacking = {said.split(":")[0].split()[0] for said in refused}
        self.assertLessEqual(lacking, self.MAY_LACK, refused)
        own = base.definition(domain)
        self.assertIn("<!-- inside -->", own)
        judge = Judge(own, command_line=not hardware)
        for bus in buses.split():
            with self.subTest(f"{machine} {bus}"):
                self.assertEqual(("", ()), judge.case(domain, "disk", bus))

    def test_pc(self):
        self.check("pc", "virtio scsi usb ide")

    def test_q35(self):
        self.check("q35", "virtio scsi usb sata")

    def test_hardware_of_pc(self):
        self.check("pc", "virtio scsi usb ide", hardware=True)

    def test_hardware_of_q35(self):
        self.check("q35", "virtio scsi usb sata", hardware=True)
