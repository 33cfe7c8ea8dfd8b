# SPDX-License-Identifier: Apache-2.0
"""Check a rescue definition against the original that it was derived from.

This module shares no code with the edits, so that it can judge their result.
"""

import copy
from collections import Counter
from collections.abc import Collection
from itertools import zip_longest

from lxml import etree

from stable_rescue.domain.address import Drive, Pci, of_type
from stable_rescue.domain.document import Domain, target_of
from stable_rescue.exception import InvariantBroken

# The children of original elements that a rescue may remove or replace (E1, E6).
_MAY_GO = {
    "os": ("boot", "kernel", "initrd", "cmdline", "nvram", "firmware"),
    "devices": ("boot",),
}
# The children of a disk that depend on what the disk reads (E8).
_OF_THE_OVERLAY = ("boot", "driver", "source", "backingStore", "auth", "encryption")


def check(original: Domain, rescue: Domain) -> None:
    """Check that the rescue definition is the original plus the edits.

    :raises InvariantBroken: naming the first violation
    """
    _check_rest(original, rescue)
    _check_nvram(original, rescue)
    added = _check_devices(original, rescue)
    _check_links(original, rescue)
    _check_overlays(original, rescue)
    _check_added(added)
    check_unique(rescue)
    _check_boot(rescue, added)


def _check_rest(original: Domain, rescue: Domain) -> None:
    """Check that nothing outside the devices has changed, except by E1 and E6."""
    before = [child for child in original.root if child.tag != "devices"]
    after = [child for child in rescue.root if child.tag != "devices"]
    if (
        len(before) != len(after)
        or dict(original.root.attrib) != dict(rescue.root.attrib)
        or not all(map(_is_same_section, before, after))
    ):
        raise InvariantBroken("something outside the devices has changed")


def _is_same_section(before: etree._Element, after: etree._Element) -> bool:
    if before.tag != "os":
        return _alike(before, after)
    return _alike(before, after, _MAY_GO["os"], ("firmware",))


def _check_nvram(original: Domain, rescue: Domain) -> None:
    """Check that a rescue of a server with NVRAM runs on another file (U31)."""
    before, after = original.root.find("os/nvram"), rescue.root.find("os/nvram")
    if (before is None) != (after is None):
        raise InvariantBroken("an <nvram> was added or removed")
    if before is not None and after is not None and _path(before) == _path(after):
        raise InvariantBroken("the rescue would run on the server's own NVRAM")


def _path(nvram: etree._Element) -> str:
    source = nvram.find("source")
    return (nvram.text or "").strip() if source is None else source.get("file", "")


def _check_devices(original: Domain, rescue: Domain) -> list[etree._Element]:
    """Check that every original device is present, in order; return the added ones."""
    originals, devices = list(original.devices), list(rescue.devices)
    for before, after in zip_longest(originals, devices[: len(originals)]):
        if after is None or not _is_same_device(before, after):
            raise InvariantBroken(f"an original device has changed: {_name(before)}")
    return devices[len(originals) :]


def _check_links(original: Domain, rescue: Domain) -> None:
    """Check that the links of all NICs are as before, or that all are down (E7)."""
    before, after = (
        [nic.findall("link[@state='down']") != [] for nic in d.each_device("interface")]
        for d in (original, rescue)
    )
    if before != after and not all(after):
        raise InvariantBroken("the links of some NICs were set down, of others not")


def _check_overlays(original: Domain, rescue: Domain) -> None:
    """Check that no disk has an overlay, or every disk that can be written (E8)."""
    pairs = [
        (before, after)
        for before, after in zip(original.devices, rescue.devices, strict=False)
        if before.tag == "disk"
    ]
    written = [
        target_of(before)[0]
        for before, after in pairs
        if _is_written(before)
        and not _is_overlaid(before, after)
        # A config drive of the rescue (E5) is no disk of the server.
        and not _is_new_config_drive(before, after)
    ]
    if written and any(_is_overlaid(before, after) for before, after in pairs):
        raise InvariantBroken(f"{', '.join(written)} would be written, others not")


def _is_written(disk: etree._Element) -> bool:
    return (
        disk.find("source") is not None
        and disk.get("device") != "cdrom"
        and disk.find("readonly") is None
    )


def _is_same_device(before: etree._Element, after: etree._Element) -> bool:
    # Comparing the bytes is fast and suffices for most devices.
    if _bytes(before) == _bytes(after) or _alike(before, after, _MAY_GO["devices"]):
        return True
    return (
        _is_new_config_drive(before, after)
        or _is_enabled_usb(before, after)
        or _is_unplugged_nic(before, after)
        or _is_overlaid(before, after)
    )


def _is_overlaid(before: etree._Element, after: etree._Element) -> bool:
    """Return True if a disk only got an overlay, with what it has read below (E8)."""
    old, new, backing = (
        *(before.find("source"), after.find("source")),
        after.find("backingStore"),
    )
    if before.tag != "disk" or old is None or new is None or backing is None:
        return False
    below, target = backing.find("source"), target_of(before)[0]
    if below is None or not new.get("file", "").endswith(f"/overlay.{target}.rescue"):
        return False
    own = [*old, *before.findall("auth"), *before.findall("encryption")]
    return (
        after.get("type") == "file"
        and _overlay_driver(before, after)
        and backing.get("type") == before.get("type", "file")
        and backing.xpath("string(format/@type)") == _format_of(before)
        and _without(old, "startupPolicy", "index") == dict(below.attrib)
        and len(own) == len(below)
        and all(any(_alike(each, other) for other in below) for each in own)
        and _has_same_chain(before, backing)
        and set(new.attrib) == {"file"}
        and all(child.tag == "slices" for child in new)
        and _alike(before, after, _OF_THE_OVERLAY, ("type",))
    )


def _overlay_driver(before: etree._Element, after: etree._Element) -> bool:
    """Return True if the driver has another format, and perhaps reports errors."""
    old, new = before.find("driver"), after.find("driver")
    if new is None:
        return False
    expected = {"name": "qemu"} if old is None else dict(old.attrib)
    given = dict(new.attrib)
    if "error_policy" not in expected and given.get("error_policy") == "report":
        del given["error_policy"]
    children = [] if old is None else list(old)
    return given == expected | {"type": "qcow2"} and (
        len(children) == len(new) and all(map(_alike, children, new))
    )


def _format_of(disk: etree._Element) -> str:
    return str(disk.xpath("string(driver/@type)")) or "raw"


def _has_same_chain(before: etree._Element, backing: etree._Element) -> bool:
    """Return True if below a disk is what was below; below a raw one, nothing."""
    old, new = before.find("backingStore"), backing.find("backingStore")
    if old is not None:
        kept = copy.deepcopy(old)
        for element in kept.iter():
            element.attrib.pop("index", None)  # libvirt counts them in a guest
        return new is not None and _alike(kept, new)
    if _format_of(before) == "raw":
        return new is not None and not len(new) and not new.attrib
    return new is None


def _without(element: etree._Element, *names: str) -> dict[str, str]:
    return {key: value for key, value in element.attrib.items() if key not in names}


def _is_unplugged_nic(before: etree._Element, after: etree._Element) -> bool:
    """Return True if only the link of a NIC was set down (E7)."""
    return (
        before.tag == "interface"
        and [link.get("state") for link in after.findall("link")] == ["down"]
        and _alike(before, after, ("boot", "link"))
    )


def _is_new_config_drive(before: etree._Element, after: etree._Element) -> bool:
    """Return True if only the source of a config drive was replaced (E5)."""
    old, new = before.find("source"), after.find("source")
    if before.tag != "disk" or old is None or new is None:
        return False
    expected = {
        key: f"{value}.rescue" if value.endswith("disk.config") else value
        for key, value in old.attrib.items()
    }
    return dict(new.attrib) == expected and _alike(before, after, ("boot", "source"))


def _is_enabled_usb(before: etree._Element, after: etree._Element) -> bool:
    """Return True if a USB controller of model none became a qemu-xhci (F13)."""
    return (
        before.tag == after.tag == "controller"
        and before.get("type") == after.get("type") == "usb"
        and before.get("model") == "none"
        and after.get("model") == "qemu-xhci"
        and before.get("index") == after.get("index")
    )


def _alike(
    one: etree._Element,
    other: etree._Element,
    may_go: Collection[str] = (),
    attributes_may_go: Collection[str] = (),
) -> bool:
    """Return True if two elements differ in nothing but the white space around texts.

    :param may_go: children of the outermost elements to ignore
    :param attributes_may_go: attributes of the outermost elements to ignore
    """
    attributes, other_attributes = dict(one.attrib), dict(other.attrib)
    for name in attributes_may_go:
        attributes.pop(name, None)
        other_attributes.pop(name, None)
    if (one.tag, attributes) != (other.tag, other_attributes):
        return False
    if _text(one) != _text(other):
        return False
    children = [child for child in one if child.tag not in may_go]
    other_children = [child for child in other if child.tag not in may_go]
    return len(children) == len(other_children) and all(
        _alike(child, other_child) and _tail(child) == _tail(other_child)
        for child, other_child in zip(children, other_children, strict=True)
    )


def _bytes(element: etree._Element) -> bytes:
    return etree.tostring(element, with_tail=False)


def _text(element: etree._Element) -> str:
    return (element.text or "").strip()


def _tail(element: etree._Element) -> str:
    return (element.tail or "").strip()


def _check_added(added: list[etree._Element]) -> None:
    """Check that only controllers, a config drive and the rescue disk were added."""
    if not added or added[-1].tag != "disk":
        raise InvariantBroken("the rescue disk is not the last device")
    drives = [element for element in added[:-1] if _is_config_drive(element)]
    if len(drives) > 1:
        raise InvariantBroken("more than one config drive was added")
    for element in added[:-1]:
        if element.tag != "controller" and element not in drives:
            raise InvariantBroken(f"a {element.tag!s} was added")
    for element in added:
        # A floppy controller is an ISA device, which has no address.
        if element.get("type") != "fdc" and element.find("address") is None:
            raise InvariantBroken(f"{_name(element)} was added without an address")


def _is_config_drive(element: etree._Element) -> bool:
    """Return True if this is a disk that reads a config drive made for the rescue."""
    source = element.find("source")
    return (
        element.tag == "disk"
        and source is not None
        and any(
            source.get(key, "").endswith("disk.config.rescue")
            for key in ("file", "dev", "name", "volume")
        )
    )


def check_unique(domain: Domain) -> None:
    """Check that no address, target, alias or controller index is used twice.

    :raises InvariantBroken: naming the first duplicate
    """
    seen: Counter[tuple[object, ...]] = Counter()
    for device in domain.each_device():
        target, alias = device.find("target"), device.find("alias")
        if device.find("target[@type='serial']") is not None:
            continue  # libvirt repeats the first serial port as a <console>
        pci, drive = Pci.of(device), Drive.of(device)
        if pci is not None:
            seen["address", pci] += 1
        elif drive is not None and device.tag == "disk" and target is not None:
            seen["address", target.get("bus", "ide"), drive] += 1
        elif (usb := of_type(device, "usb")) is not None:
            seen["address", "usb", usb.get("bus"), usb.get("port")] += 1
        if device.tag == "disk" and target is not None:
            seen["target", target.get("dev")] += 1
        if alias is not None:
            seen["alias", alias.get("name")] += 1
        if device.tag == "controller" and not _shares_index(device):
            seen["controller", device.get("type"), device.get("index")] += 1
    for what, times in seen.items():
        if times > 1:
            raise InvariantBroken(f"{' '.join(map(str, what))} occurs {times} times")


def _shares_index(controller: etree._Element) -> bool:
    """Return True for a USB 2.0 companion controller, which shares its index."""
    return (controller.get("model") or "").startswith(("ich9-", "piix"))


def _check_boot(rescue: Domain, added: list[etree._Element]) -> None:
    """Check that the rescue disk has boot order 1 and nothing else has one."""
    orders = rescue.root.findall("devices/*/boot")
    if [boot.getparent() for boot in orders] != added[-1:]:
        raise InvariantBroken("the rescue disk's boot order is not the only one")
    if orders[0].get("order") != "1" or rescue.root.find("os/boot") is not None:
        raise InvariantBroken("the rescue disk is not first to boot")


def _name(device: etree._Element) -> str:
    target = device.find("target")
    attributes = device.attrib if target is None else target.attrib
    return f"{device.tag!s} {' '.join(f'{k}={v}' for k, v in attributes.items())}"
