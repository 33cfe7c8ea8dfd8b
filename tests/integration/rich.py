# SPDX-License-Identifier: Apache-2.0
"""Definitions with as many of libvirt's elements as each machine accepts.

Elements that need hardware (host devices, SEV) are defined, never started.
"""

from collections.abc import Iterator
from pathlib import Path

import libvirt
from lxml import etree

from stable_rescue.domain.document import Domain
from tests.integration import base
from tests.integration.scene import Scene

# Children of <domain>.
_OUTSIDE = """
<extra xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <title>a rich server</title>
  <description>every element that libvirt accepts</description>
  <cpu mode='custom' match='exact'><model>qemu64</model>
    <numa><cell id='0' cpus='0' memory='262144' unit='KiB' memAccess='shared'/></numa>
  </cpu>
  <maxMemory slots='16' unit='KiB'>4194304</maxMemory>
  <memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>
  <iothreads>4</iothreads>
  <cputune>
    <shares>2048</shares><period>100000</period><quota>50000</quota>
    <vcpupin vcpu='0' cpuset='0'/><emulatorpin cpuset='0'/>
    <iothreadpin iothread='2' cpuset='0'/>
  </cputune>
  <numatune><memory mode='strict' nodeset='0'/></numatune>
  <blkiotune><weight>500</weight></blkiotune>
  <memtune><hard_limit unit='KiB'>4194304</hard_limit></memtune>
  <resource><partition>/machine</partition></resource>
  <pm><suspend-to-mem enabled='no'/><suspend-to-disk enabled='yes'/></pm>
  <qemu:commandline>
    <qemu:arg value='-name'/><qemu:arg value='guest=rich'/>
    <qemu:env name='RICH' value='yes'/>
  </qemu:commandline>
  <qemu:override>
    <qemu:device alias='video0'>
      <qemu:frontend>
        <qemu:property name='max_outputs' type='unsigned' value='2'/>
      </qemu:frontend>
    </qemu:device>
  </qemu:override>
</extra>"""

_METADATA = """
<metadata>
  <!-- a comment by an operator -->
  <a:owner xmlns:a="http://example.org/a" a:id="1">
    <a:note>text <b>and</b> more &lt;text&gt;</a:note><!-- inside -->
  </a:owner>
  <b:backup xmlns:b="http://example.org/b"><b:policy boot="order">daily</b:policy>
  </b:backup>
</metadata>"""

_DEVICES = """
<devices>
  <controller type='scsi' index='3' model='virtio-scsi'>
    <driver queues='2' iothread='3'/></controller>
  <controller type='usb' index='1' model='nec-xhci'/>
  <controller type='virtio-serial' index='0' ports='16' vectors='4'/>
  <controller type='virtio-serial' index='1'/>
  <controller type='ccid' index='0'/>
  <graphics type='vnc' port='-1' autoport='yes' listen='127.0.0.1' passwd='rich'/>
  <graphics type='spice' autoport='yes'><listen type='address' address='127.0.0.1'/>
    <image compression='off'/></graphics>
  <disk type='block' device='disk'>
    <driver name='qemu' type='raw' cache='none' io='native' discard='unmap'
            detect_zeroes='unmap' iothread='1' queues='1'/>
    <source dev='/dev/nonexistent'/>
    <target dev='vdh' bus='virtio'/>
    <iotune><total_bytes_sec>1048576</total_bytes_sec>
      <read_iops_sec>100</read_iops_sec><write_iops_sec>100</write_iops_sec></iotune>
    <shareable/><serial>rich-1</serial>
  </disk>
  <disk type='network' device='disk'>
    <driver name='qemu' type='raw' cache='writeback'/>
    <auth username='cinder'>
      <secret type='ceph' uuid='0a81f5b2-8403-7b23-c8d6-21ccc2f80d6f'/></auth>
    <source protocol='rbd' name='volumes/volume-1'>
      <host name='127.0.0.1' port='6789'/><host name='127.0.0.2' port='6789'/>
      <encryption format='luks'>
        <secret type='passphrase' uuid='0a81f5b2-8403-7b23-c8d6-21ccc2f80d70'/>
      </encryption>
    </source>
    <target dev='vdi' bus='virtio'/><boot order='3'/>
  </disk>
  <disk type='file' device='disk' model='virtio-transitional'>
    <driver name='qemu' type='qcow2'/>
    <source file='/nonexistent/transitional'/><target dev='vdj' bus='virtio'/>
    <blockio logical_block_size='512' physical_block_size='4096'/>
  </disk>
  <disk type='block' device='lun'>
    <driver name='qemu' type='raw'/><source dev='/dev/nonexistent-lun'>
      <reservations managed='yes'/></source>
    <target dev='sdg' bus='scsi'/>
    <address type='drive' controller='3' bus='0' target='0' unit='9'/>
  </disk>
  <disk type='file' device='disk'>
    <driver name='qemu' type='raw'/><source file='/nonexistent/usb'/>
    <target dev='sdh' bus='usb' removable='on'/>
  </disk>
  <disk type='network' device='cdrom'>
    <driver name='qemu' type='raw'/>
    <source protocol='http' name='/iso'><host name='127.0.0.1' port='80'/></source>
    <target dev='sdi' bus='scsi'/><readonly/>
    <address type='drive' controller='3' bus='0' target='0' unit='1'/>
  </disk>
  <disk type='file' device='floppy'><driver name='qemu' type='raw'/>
    <source file='/nonexistent/floppy'/><target dev='fda' bus='fdc'/></disk>
  <filesystem type='mount' accessmode='passthrough'>
    <driver type='virtiofs' queue='1024'/>
    <binary path='/usr/lib/qemu/virtiofsd' xattr='on'/>
    <source dir='/nonexistent/share'/><target dir='share'/></filesystem>
  <filesystem type='mount' accessmode='mapped'>
    <source dir='/nonexistent/nine'/><target dir='nine'/><readonly/></filesystem>
  <interface type='ethernet'><mac address='52:54:00:6d:90:03'/>
    <target dev='tap-rich' managed='no'/><model type='virtio'/>
    <driver name='vhost' queues='2' rx_queue_size='512'/><mtu size='1450'/></interface>
  <interface type='user'><mac address='52:54:00:6d:90:05'/>
    <model type='e1000e'/></interface>
  <serial type='pty'/>
  <serial type='tcp'><source mode='bind' host='127.0.0.1' service='0'/>
    <protocol type='raw'/><target type='isa-serial' port='2'/></serial>
  <parallel type='pty'/>
  <console type='pty'><target type='virtio' port='1'/></console>
  <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
  <channel type='spicevmc'><target type='virtio' name='com.redhat.spice.0'/></channel>
  <smartcard mode='passthrough' type='spicevmc'/>
  <input type='tablet' bus='virtio'/>
  <input type='passthrough' bus='virtio'>
    <source evdev='/dev/input/event1234'/></input>
  <input type='evdev'><source dev='/dev/input/event1235' grab='all'/></input>
  <tpm model='tpm-crb'><backend type='emulator' version='2.0'/></tpm>
  <sound model='ich9'/>
  <video><model type='qxl' heads='1'/></video>
  <redirdev bus='usb' type='spicevmc'><boot order='5'/></redirdev>
  <redirfilter><usbdev allow='no'/></redirfilter>
  <watchdog model='i6300esb' action='reset'/>
  <rng model='virtio'><rate bytes='1234' period='2000'/>
    <backend model='random'>/dev/random</backend></rng>
  <memory model='dimm'><target><size unit='KiB'>131072</size><node>0</node></target>
  </memory>
  <memory model='nvdimm'><source><path>/nonexistent/nvdimm</path></source>
    <target><size unit='KiB'>131072</size><node>0</node></target></memory>
  <memory model='virtio-mem'><target><size unit='KiB'>131072</size><node>0</node>
    <block unit='KiB'>2048</block><requested unit='KiB'>0</requested></target></memory>
  <shmem name='rich'><model type='ivshmem-plain'/><size unit='M'>4</size></shmem>
  <panic model='isa'/>
  <panic model='hyperv'/>
  <vsock model='virtio'><cid auto='no' address='42'/></vsock>
  <crypto model='virtio' type='qemu'><backend model='builtin' queues='1'/></crypto>
</devices>"""

# libvirt needs the hardware to start these devices or to write QEMU's command line.
_HARDWARE = """
<devices>
  <interface type='hostdev' managed='yes'>
    <mac address='52:54:00:6d:90:02'/>
    <source><address type='pci' domain='0x0000' bus='0x81' slot='0x10'
      function='0x2'/></source>
    <vlan><tag id='42'/></vlan><boot order='2'/></interface>
  <hostdev mode='subsystem' type='pci' managed='yes'>
    <driver name='vfio'/>
    <source><address domain='0x0000' bus='0x82' slot='0x00' function='0x0'/></source>
    <rom bar='off'/></hostdev>
  <hostdev mode='subsystem' type='usb' managed='no'>
    <source><vendor id='0x1234'/><product id='0xbeef'/></source>
    <boot order='4'/></hostdev>
  <hostdev mode='subsystem' type='mdev' managed='no' model='vfio-pci'>
    <source><address uuid='53764d0e-85a0-42b4-af5c-2046b460b1dc'/></source></hostdev>
  <hostdev mode='subsystem' type='scsi' managed='no'>
    <source><adapter name='scsi_host0'/><address bus='0' target='0' unit='0'/></source>
    <address type='drive' controller='3' bus='0' target='0' unit='12'/></hostdev>
  <hostdev mode='subsystem' type='scsi_host' model='virtio'>
    <source protocol='vhost' wwpn='naa.5123456789abcde0'/></hostdev>
  <interface type='vhostuser'><mac address='52:54:00:6d:90:04'/>
    <source type='unix' path='/nonexistent/vhu' mode='server'/>
    <model type='virtio'/></interface>
</devices>"""

# PCI topologies of each machine that matrix.py does not have.
_PCI = {
    "pc": """
<devices>
  <controller type='pci' index='1' model='pci-bridge'/>
  <controller type='pci' index='2' model='pci-bridge'/>
  <controller type='pci' index='3' model='pci-expander-bus'>
    <target busNr='128'/></controller>
  <controller type='pci' index='4' model='pci-bridge'>
    <address type='pci' domain='0' bus='3' slot='0' function='0'/></controller>
  <interface type='user'><mac address='52:54:00:6d:91:01'/><model type='rtl8139'/>
    <address type='pci' domain='0' bus='1' slot='5' function='0'/></interface>
</devices>""",
    "q35": """
<devices>
  <controller type='pci' index='20' model='dmi-to-pci-bridge'/>
  <controller type='pci' index='21' model='pci-bridge'>
    <address type='pci' domain='0' bus='20' slot='0' function='0'/></controller>
  <controller type='pci' index='22' model='pcie-to-pci-bridge'/>
  <controller type='pci' index='23' model='pcie-expander-bus'>
    <target busNr='128'/></controller>
  <controller type='pci' index='24' model='pcie-root-port'>
    <address type='pci' domain='0' bus='23' slot='0' function='0'/></controller>
  <controller type='pci' index='25' model='pcie-switch-upstream-port'/>
  <controller type='pci' index='26' model='pcie-switch-downstream-port'>
    <address type='pci' domain='0' bus='25' slot='0' function='0'/></controller>
  <interface type='user'><mac address='52:54:00:6d:91:01'/><model type='e1000'/>
    <address type='pci' domain='0' bus='21' slot='5' function='0'/></interface>
  <interface type='user'><mac address='52:54:00:6d:91:02'/><model type='virtio'/>
    <address type='pci' domain='0' bus='24' slot='0' function='0'/></interface>
  <iommu model='intel'><driver intremap='on' caching_mode='on'/></iommu>
</devices>""",
}

_FEATURES = {
    "pc": "<extra/>",
    "q35": "<extra><features><acpi/><apic/><ioapic driver='qemu'/></features></extra>",
}
# libvirt accepts this on hosts with SEV only.
_LAUNCH = """
<extra>
  <launchSecurity type='sev'>
    <cbitpos>47</cbitpos><reducedPhysBits>1</reducedPhysBits><policy>0x0003</policy>
  </launchSecurity>
</extra>"""


# libvirt needs the secrets of the disks to write QEMU's command line.
_SECRETS = (
    ("0a81f5b2-8403-7b23-c8d6-21ccc2f80d6f", "ceph", "name"),
    ("0a81f5b2-8403-7b23-c8d6-21ccc2f80d70", "volume", "volume"),
)


def define_secrets() -> Iterator[libvirt.virSecret]:
    """Define the secrets that the disks name, and yield each."""
    for uuid, kind, key in _SECRETS:
        secret = base.connection().secretDefineXML(
            f"<secret ephemeral='yes' private='no'><uuid>{uuid}</uuid>"
            f"<usage type='{kind}'><{key}>rich {kind}</{key}></usage></secret>"
        )
        secret.setValue(b"rich")
        yield secret


def define(machine: str, hardware: bool = False) -> tuple[libvirt.virDomain, list[str]]:
    """Define a server with each element that libvirt accepts, one after the other.

    :param hardware: also define the elements that need hardware
    :returns: the domain, and the elements that libvirt rejected, with its errors
    """
    domain = base.define(_first_definition(machine).to_xml())
    rejected = []
    for parent, element in _elements(machine, hardware):
        extended = Domain.parse(base.definition(domain)).copy()
        if parent == "devices":
            extended.append_device(element)
        else:
            for present in extended.root.findall(str(element.tag)):
                extended.root.remove(present)
            extended.root.append(element)
        try:
            domain = base.define(extended.to_xml())
        except libvirt.libvirtError as error:
            kinds = (element.get(key, "") for key in ("type", "device", "model"))
            name = " ".join(filter(None, (str(element.tag), *kinds)))
            rejected.append(f"{name}: {error}")
    # libvirt writes some elements differently once it has read its own output.
    for _ in range(3):
        domain = base.connection().defineXML(base.definition(domain))
    return domain, rejected


def _first_definition(machine: str) -> Domain:
    """Return a server with metadata, and a boot order in place of <boot dev>.

    With that, each further device can have a boot order (F12).
    """
    scene = Scene(Path("/nonexistent"), machine, scsi_volume=True)
    definition = Domain.parse(scene.xml()).copy()
    metadata = definition.root.find("metadata")
    metadata.extend(etree.fromstring(_METADATA))
    boot = definition.root.find("os/boot")
    boot.getparent().remove(boot)
    etree.SubElement(next(definition.disks()), "boot", order="1")
    return definition


def _elements(machine: str, hardware: bool) -> Iterator[tuple[str, etree._Element]]:
    """Yield each element with the tag of its parent; "extra" is the domain."""
    texts = [_OUTSIDE, _FEATURES[machine], _PCI[machine], _DEVICES]
    if hardware:
        texts += [_LAUNCH, _HARDWARE]
    for text in texts:
        parent = etree.fromstring(text)
        for element in list(parent):
            yield str(parent.tag), element
