# SPDX-License-Identifier: Apache-2.0
"""Definitions with overlays, and what tests look at in them."""

from lxml import etree

from stable_rescue import plan
from stable_rescue.domain import document
from stable_rescue.domain.document import Domain
from stable_rescue.domain.overlays import Overlays
from tests.unit.domain import samples, volume_disks

FOLDER = "/var/lib/nova/instances/0f4b0a6e"
OVERLAYS = Overlays(FOLDER, {"vdb": 2**30})
HOSTDEV = """<hostdev mode='subsystem' type='{}' managed='yes'>
  <source><address domain='0' bus='0x81' slot='0' function='1'/></source>
  <address type='pci' domain='0x0000' bus='0x00' slot='0x1d' function='0x0'/>
</hostdev>"""
QCOW2 = """<disk type='file' device='disk' snapshot='external'>
      <driver name='qemu' type='qcow2' cache='none' io='native' discard='unmap'>
        <metadata_cache><max_size unit='bytes'>65536</max_size></metadata_cache>
      </driver>
      <source file='/images/a' startupPolicy='optional' index='2'/>
      {}<target dev='vdg' bus='virtio'/>
      <serial>g</serial>
      <address type='pci' domain='0x0000' bus='0x0a' slot='0x00' function='0x0'/>
    </disk>"""


def discarding(
    original: Domain, discard: bool = True, **media: object
) -> plan.RescuePlan:
    request = plan.RescueRequest("disk", "usb", discard=discard)
    on_host = plan.RescueMedia(samples.MEDIUM, overlays=OVERLAYS, **media)
    return plan.derive(original, request, on_host)


def with_volumes(qcow2_chain: str = "") -> Domain:
    """Return a definition with disks of every kind that can have an overlay."""
    domain = volume_disks.definition().copy()
    rbd = volume_disks.disk_of(domain, volume_disks.RBD)
    rbd.remove(rbd.find("shareable"))
    luks = volume_disks.disk_of(domain, volume_disks.ISCSI)
    luks.remove(luks.find("readonly"))
    samples.add(domain, QCOW2.format(qcow2_chain))
    return Domain.parse(domain.to_xml())


def disk_at(domain: Domain, target: str) -> etree._Element:
    return next(d for d in domain.disks() if document.target_of(d)[0] == target)


def text_of(element: etree._Element) -> str:
    """Return an element in a form to compare, without the white space."""
    copy = etree.fromstring(etree.tostring(element, with_tail=False))
    for each in copy.iter():
        each.text, each.tail = (each.text or "").strip(), (each.tail or "").strip()
    return etree.tostring(copy, method="c14n").decode()


def below(domain: Domain, target: str) -> str:
    """Return the backing store of a disk, in a form to compare."""
    return text_of(disk_at(domain, target).find("backingStore"))


def expected(text: str) -> str:
    return text_of(etree.fromstring(text))
