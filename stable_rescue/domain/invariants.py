# SPDX-License-Identifier: Apache-2.0
"""What must hold between a definition and the rescue definition derived from it.

It undoes nothing and shares no code with the edits: it judges their result alone.
"""

from collections import Counter
from collections.abc import Collection
from itertools import zip_longest

from lxml import etree

from stable_rescue.domain.address import Drive, Pci, of_type
from stable_rescue.domain.document import Domain
from stable_rescue.exception import InvariantBroken

# What may be missing from an original element: see DESIGN.md, edit 1.
_MAY_GO = {
    "os": ("boot", "kernel", "initrd", "cmdline", "nvram", "firmware"),
    "devices": ("boot",),
}


def check(before: Domain, after: Domain) -> None:
    """Check that a rescue definition is the original and what the edits add.

    :raises InvariantBroken: naming the first thing that is not as it must be
    """
    _check_rest(before, after)
    _check_nvram(before, after)
    added = _check_devices(before, after)
    _check_added(added)
    check_unique(after)
    _check_boot(after, added)


def _check_rest(before: Domain, after: Domain) -> None:
    """All that is not a device is as it was, less what edit 1 drops."""
    ours = [c for c in after.root if c.tag != "devices"]
    theirs = [c for c in before.root if c.tag != "devices"]
    if (
        len(ours) != len(theirs)
        or dict(before.root.attrib) != dict(after.root.attrib)
        or not all(map(_same_section, theirs, ours))
    ):
        raise InvariantBroken("something outside the devices has changed")


def _same_section(original: etree._Element, found: etree._Element) -> bool:
    if original.tag != "os":
        return _alike(original, found)
    return _alike(original, found, _MAY_GO["os"], ("firmware",))


def _check_nvram(before: Domain, after: Domain) -> None:
    """The rescue has its own NVRAM where the original has one (UPSTREAM U31)."""
    own, rescue = before.root.find("os/nvram"), after.root.find("os/nvram")
    if (own is None) != (rescue is None):
        raise InvariantBroken("an NVRAM has come or gone")
    if own is not None and rescue is not None and _path(own) == _path(rescue):
        raise InvariantBroken("the rescue would run on the server's own NVRAM")


def _path(nvram: etree._Element) -> str:
    source = nvram.find("source")
    return (nvram.text or "").strip() if source is None else source.get("file", "")


def _check_devices(before: Domain, after: Domain) -> list[etree._Element]:
    """Every original device is there, in its order; return what was added."""
    originals, found = list(before.devices), list(after.devices)
    for original, now in zip_longest(originals, found[: len(originals)]):
        if now is None or not _same(original, now):
            raise InvariantBroken(f"an original device has changed: {_name(original)}")
    return found[len(originals) :]


def _same(original: etree._Element, found: etree._Element) -> bool:
    # The same bytes say the same; most devices are told by that, which is quick.
    if _bytes(original) == _bytes(found) or _alike(original, found, _MAY_GO["devices"]):
        return True
    return _is_new_config_drive(original, found) or _is_usb_in_use(original, found)


def _is_new_config_drive(original: etree._Element, found: etree._Element) -> bool:
    """Say whether it is a config drive that reads a new one (DESIGN.md, edit 5)."""
    own, new = original.find("source"), found.find("source")
    if original.tag != "disk" or own is None or new is None:
        return False
    expected = {
        key: f"{value}.rescue" if value.endswith("disk.config") else value
        for key, value in own.attrib.items()
    }
    return dict(new.attrib) == expected and _alike(original, found, ("boot", "source"))


def _is_usb_in_use(original: etree._Element, found: etree._Element) -> bool:
    """Say whether a USB controller of model none became the rescue disk's."""
    return (
        original.tag == found.tag == "controller"
        and original.get("type") == found.get("type") == "usb"
        and original.get("model") == "none"
        and found.get("model") == "qemu-xhci"
        and original.get("index") == found.get("index")
    )


def _alike(
    one: etree._Element,
    other: etree._Element,
    may_go: Collection[str] = (),
    attributes_may_go: Collection[str] = (),
) -> bool:
    """Say whether two elements say the same, but for white space at a text's ends.

    :param may_go: children of the outermost elements that do not count
    :param attributes_may_go: attributes of the outermost elements, likewise
    """
    attributes, others = dict(one.attrib), dict(other.attrib)
    for name in attributes_may_go:
        attributes.pop(name, None)
        others.pop(name, None)
    if one.tag != other.tag or attributes != others or _text(one) != _text(other):
        return False
    children = [child for child in one if child.tag not in may_go]
    their_children = [child for child in other if child.tag not in may_go]
    return len(children) == len(their_children) and all(
        _alike(child, theirs) and _tail(child) == _tail(theirs)
        for child, theirs in zip(children, their_children, strict=True)
    )


def _bytes(element: etree._Element) -> bytes:
    return etree.tostring(element, with_tail=False)


def _text(element: etree._Element) -> str:
    return (element.text or "").strip()


def _tail(element: etree._Element) -> str:
    return (element.tail or "").strip()


def _check_added(added: list[etree._Element]) -> None:
    """Only controllers, a config drive and, last, the rescue disk were added."""
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
    """Say whether it is a disk that reads a config drive made for the rescue."""
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
    """Check that no address, target, alias or controller index is there twice.

    :raises InvariantBroken: naming what is
    """
    seen: Counter[tuple[object, ...]] = Counter()
    for device in domain.each_device():
        target, alias = device.find("target"), device.find("alias")
        if device.find("target[@type='serial']") is not None:
            continue  # a <console> that tells of the first serial port again
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
            raise InvariantBroken(f"{' '.join(map(str, what))} is there {times} times")


def _shares_index(controller: etree._Element) -> bool:
    """Say whether it is one of the USB 2.0 companions, which share an index."""
    return (controller.get("model") or "").startswith(("ich9-", "piix"))


def _check_boot(after: Domain, added: list[etree._Element]) -> None:
    """The rescue disk's boot order 1 is the only one."""
    orders = after.root.findall("devices/*/boot")
    if [boot.getparent() for boot in orders] != added[-1:]:
        raise InvariantBroken("the rescue disk's boot order is not the only one")
    if orders[0].get("order") != "1" or after.root.find("os/boot") is not None:
        raise InvariantBroken("the rescue disk is not first to boot")


def _name(device: etree._Element) -> str:
    target = device.find("target")
    known = dict(target.attrib) if target is not None else dict(device.attrib)
    return f"{device.tag!s} {' '.join(f'{k}={v}' for k, v in known.items())}"
