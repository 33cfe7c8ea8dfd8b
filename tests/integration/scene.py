# SPDX-License-Identifier: Apache-2.0
"""A server as Nova defines it: the files of its disks, and its definition."""

import subprocess
import uuid
from dataclasses import dataclass, field
from pathlib import Path

from lab.guest import GuestImages

MIB = 2**20

_CONTROLLERS = {
    "pc": """
    <controller type='usb' index='0' model='piix3-uhci'/>
    <controller type='ide' index='0'/>""",
    "q35": """
    <controller type='usb' index='0' model='qemu-xhci'/>
    <controller type='sata' index='0'/>
    <controller type='pci' index='0' model='pcie-root'/>"""
    + "<controller type='pci' model='pcie-root-port'/>" * 12,
}
# Named in the definition: libvirt 9.0 rejects what Nova leaves to libvirt (F11).
_OVMF = Path("/usr/share/OVMF/OVMF_CODE_4M.fd")
_VARIABLES = Path("/usr/share/OVMF/OVMF_VARS_4M.fd")


@dataclass
class Scene:
    """A server with three local disks, a config drive, two volumes and one NIC."""

    folder: Path
    machine: str
    firmware: str = "bios"
    #: The file of the firmware, if it is neither SeaBIOS nor OVMF.
    loader: Path | None = None
    #: Adds volume 3 on virtio-scsi, with free units below it.
    scsi_volume: bool = False
    #: The USB controllers, if not the machine's usual one.
    usb: str = ""
    uuid: str = field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def console(self) -> Path:
        """The file that the guest's serial console is written to."""
        return self.folder / "console.log"

    @property
    def nvram(self) -> Path:
        """The file of the UEFI variables."""
        return self.folder / "nvram.fd"

    def make_disks(self, images: GuestImages) -> None:
        """Create the files behind the disks."""
        overlay(images.original_qcow2, self.folder / "disk", "1G")
        for number, name in enumerate(("disk.eph0", "disk.swap"), 1):
            with (self.folder / name).open("wb") as stream:
                stream.truncate(number * 32 * MIB)
        # Guests find a config drive by its label: the shortest ISO 9660 that has one.
        config = bytearray(64 * 1024)
        config[32768:32774] = b"\1CD001"
        config[32808:32840] = b"config-2".ljust(32)
        (self.folder / "disk.config").write_bytes(config)
        for number in range(1, 7):
            with self.volume(number).open("wb") as stream:
                stream.truncate(64 * MIB)

    def volume(self, number: int) -> Path:
        """Return the file behind a volume."""
        return self.folder / f"volume-{number}"

    def volume_xml(self, number: int, target: str, bus: str = "virtio") -> str:
        """Return the <disk> of a volume; the guest identifies it by its serial."""
        address = ""
        if bus == "scsi":
            address = (
                "<address type='drive' controller='0' bus='0' target='0' unit='2'/>"
            )
        return f"""
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw' cache='none' io='native'/>
      <source file='{self.volume(number)}'/>
      <target dev='{target}' bus='{bus}'/>
      <serial>volume-{number}</serial>{address}
    </disk>"""

    def _local_disk_xml(self, name: str, target: str, image_format: str = "raw") -> str:
        return f"""
    <disk type='file' device='disk'>
      <driver name='qemu' type='{image_format}' cache='writeback'/>
      <source file='{self.folder}/{name}'/>
      <target dev='{target}' bus='virtio'/>
    </disk>"""

    def nic_xml(self, number: int) -> str:
        """Return an <interface>; a user network needs no bridge on the host."""
        return f"""
    <interface type='user'>
      <mac address='fa:16:3e:00:00:{number:02x}'/>
      <model type='virtio'/>
    </interface>"""

    def _firmware_xml(self) -> str:
        """Return the elements below <os> that choose the firmware."""
        kind, loader, nvram = "rom", self.loader, ""
        if self.firmware == "uefi":
            kind, loader = "pflash", loader or _OVMF
            nvram = f"<nvram template='{_VARIABLES}'>{self.nvram}</nvram>"
        if loader is None:
            return ""
        return f"""
    <loader readonly='yes' type='{kind}'>{loader}</loader>{nvram}"""

    def xml(self) -> str:
        """Return the definition as Nova first writes it: without addresses."""
        volumes = [self.volume_xml(1, "vdd"), self.volume_xml(2, "vde")]
        controllers = _CONTROLLERS[self.machine]
        cdrom_target, cdrom_bus = {"pc": ("hda", "ide"), "q35": ("sda", "sata")}[
            self.machine
        ]
        if self.usb:
            controllers = "\n".join(
                line for line in controllers.splitlines() if "'usb'" not in line
            )
            controllers += self.usb
        if self.scsi_volume:
            volumes.append(self.volume_xml(3, "sda", "scsi"))
            controllers += "<controller type='scsi' index='0' model='virtio-scsi'/>"
            cdrom_target = cdrom_target.replace("sda", "sdb")
        has_usb = "model='none'" not in controllers
        tablet = "<input type='tablet' bus='usb'/>" if has_usb else ""
        return f"""\
<domain type='qemu'>
  <name>instance-{self.uuid[:8]}</name>
  <uuid>{self.uuid}</uuid>
  <metadata>
    <nova:instance xmlns:nova="http://openstack.org/xmlns/libvirt/nova/1.1">
      <nova:name>server</nova:name>
    </nova:instance>
  </metadata>
  <memory unit='KiB'>262144</memory>
  <vcpu>1</vcpu>
  <sysinfo type='smbios'>
    <system><entry name='manufacturer'>OpenStack Foundation</entry></system>
  </sysinfo>
  <os>
    <type arch='x86_64' machine='{self.machine}'>hvm</type>{self._firmware_xml()}
    <boot dev='hd'/>
    <smbios mode='sysinfo'/>
  </os>
  <features><acpi/><apic/></features>
  <clock offset='utc'/>
  <on_poweroff>destroy</on_poweroff>
  <on_reboot>restart</on_reboot>
  <on_crash>destroy</on_crash>
  <devices>{self._local_disk_xml("disk", "vda", "qcow2")}
    {self._local_disk_xml("disk.eph0", "vdb")}
    {self._local_disk_xml("disk.swap", "vdc")}
    <disk type='file' device='cdrom'>
      <driver name='qemu' type='raw' cache='writeback'/>
      <source file='{self.folder}/disk.config'/>
      <target dev='{cdrom_target}' bus='{cdrom_bus}'/>
      <readonly/>
    </disk>{"".join(volumes)}{controllers}
    {self.nic_xml(1)}
    <serial type='file'><source path='{self.console}'/></serial>
    {tablet}
    <video><model type='virtio'/></video>
    <memballoon model='virtio'><stats period='10'/></memballoon>
    <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
  </devices>
</domain>
"""


def overlay(backing: Path, target: Path, size: str = "") -> Path:
    """Create a qcow2 image with another as its backing file; return its path."""
    command = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2"]
    command += ["-b", str(backing), str(target), *([size] if size else [])]
    subprocess.run(command, check=True)
    return target
