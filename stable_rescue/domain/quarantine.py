# SPDX-License-Identifier: Apache-2.0
"""A rescue without network: every NIC stays where it is, with its link down (E7)."""

from lxml import etree

from stable_rescue import exception
from stable_rescue.domain import address
from stable_rescue.domain.document import Domain, Draft
from stable_rescue.domain.edits import Edit

# libvirt sets the link of a NIC that QEMU emulates or serves. These are devices of the
# host or of its network card.
_OUT_OF_REACH = ("hostdev", "vdpa")


def unplug_links(draft: Draft) -> list[Edit]:
    """Set the link of every NIC down (E7).

    :raises Refused: if the link of a NIC cannot be set
    """
    edits = []
    for nic in draft.each_device("interface"):
        mac = _mac(nic)
        if nic.get("type") in _OUT_OF_REACH:
            raise exception.Refused(
                f"NIC {mac} is passed through to the server, so its link cannot be set "
                "down; use a rescue image without hw_rescue_network=quarantine"
            )
        link = nic.find("link")
        if link is None:
            link = etree.SubElement(nic, "link")
        if link.get("state") != "down":
            link.set("state", "down")
            edits.append(Edit("link", f"set the link of NIC {mac} down", "F36"))
    return edits


def findings(rescue: Domain) -> tuple[str, ...]:
    """Return a warning for each device that may be a NIC out of reach."""
    return tuple(
        f"the PCI device at {address.described(device)} is passed through to the "
        "server; if it is a NIC, its link stays up"
        for device in rescue.each_device("hostdev")
        if device.get("type") == "pci"
    )


def _mac(nic: etree._Element) -> str:
    mac = nic.find("mac")
    return "without a MAC address" if mac is None else mac.get("address", "")
