# SPDX-License-Identifier: Apache-2.0
"""Volumes of a server: their disks in a definition, and what Nova would write now."""

from lxml import etree

from stable_rescue.domain import sources
from stable_rescue.domain.document import Domain
from tests.unit.domain import samples

RBD, ISCSI, NFS = (f"{n}0000000-0000-4000-8000-000000000000" for n in "123")
OLD_SECRET, NEW_SECRET = (f"{n}0000000-1111-4000-8000-000000000000" for n in "45")

# As libvirt returns them, with its order and attributes.
RBD_DISK = f"""<disk type='network' device='disk'>
      <driver name='qemu' type='raw' cache='writeback' discard='unmap'/>
      <auth username='cinder'>
        <secret type='ceph' uuid='{OLD_SECRET}'/>
      </auth>
      <source protocol='rbd' name='volumes/volume-{RBD}' index='3'>
        <host name='192.0.2.1' port='6789'/>
        <host name='fd00::1' port='6789'/>
      </source>
      <target dev='vdd' bus='virtio'/>
      <iotune>
        <total_iops_sec>100</total_iops_sec>
      </iotune>
      <shareable/>
      <serial>{RBD}</serial>
      <alias name='ua-{RBD}'/>
      <address type='pci' domain='0x0000' bus='0x07' slot='0x00' function='0x0'/>
    </disk>"""
ISCSI_DISK = f"""<disk type='block' device='disk'>
      <driver name='qemu' type='raw' cache='none' io='native'/>
      <source dev='/dev/dm-3'>
        <encryption format='luks'>
          <secret type='passphrase' uuid='{OLD_SECRET}'/>
        </encryption>
      </source>
      <target dev='vde' bus='virtio'/>
      <readonly/>
      <serial>{ISCSI}</serial>
      <address type='pci' domain='0x0000' bus='0x08' slot='0x00' function='0x0'/>
    </disk>"""

NFS_DISK = f"""<disk type='file' device='disk'>
      <driver name='qemu' type='raw' cache='writethrough' discard='unmap' queues='4'/>
      <source file='/mnt/volume'/>
      <backingStore/>
      <target dev='vdf' bus='virtio'/>
      <serial>{NFS}</serial>
      <address type='pci' domain='0x0000' bus='0x09' slot='0x00' function='0x0'/>
    </disk>"""


def rbd(hosts: str, secret: str = OLD_SECRET, name: str = f"volumes/volume-{RBD}"):
    """Return what Nova writes: without iotune, with another target and cache mode."""
    return (
        "<disk type='network' device='disk'><driver name='qemu' type='raw'/>"
        f"<source protocol='rbd' name='{name}'>{hosts}</source>"
        f"<auth username='cinder'><secret type='ceph' uuid='{secret}'/></auth>"
        f"<target dev='vdz' bus='scsi'/><serial>{RBD}</serial></disk>"
    )


def iscsi(dev: str, secret: str = OLD_SECRET) -> str:
    """Return what Nova writes for an encrypted volume."""
    return (
        f"<disk type='block' device='disk'><source dev='{dev}'/>"
        f"<target dev='vdz' bus='scsi'/><serial>{ISCSI}</serial>"
        f"<encryption format='luks'><secret type='passphrase' uuid='{secret}'/>"
        "</encryption></disk>"
    )


def nfs(path: str, image_format: str | None = None) -> str:
    """Return what Nova writes for a file, without the driver if it has no format."""
    driver = f"<driver name='qemu' type='{image_format}' cache='none' io='native'/>"
    return (
        f"<disk type='file' device='disk'>{driver if image_format else ''}"
        f"<source file='{path}'/><target dev='vdz' bus='scsi'/>"
        f"<serial>{NFS}</serial></disk>"
    )


SAME = "<host name='192.0.2.1' port='6789'/><host name='[fd00::1]' port='6789'/>"
MOVED = "<host name='192.0.2.9' port='6789'/>"


def definition() -> Domain:
    """Return a definition with the three volumes."""
    domain = samples.domain("q35")
    for disk in (RBD_DISK, ISCSI_DISK, NFS_DISK):
        samples.add(domain, disk)
    return Domain.parse(domain.to_xml())


def disk_of(domain: Domain, serial: str) -> etree._Element:
    """Return the disk of a volume."""
    return next(d for d in domain.disks() if sources.serial_of(d) == serial)
