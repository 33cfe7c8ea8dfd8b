# SPDX-License-Identifier: Apache-2.0
"""Update the sources of a definition's disks (E4, U36).

The multipath device of a volume, the address of a Ceph monitor or the secret of an
encrypted volume may have changed since the definition was written. Only these are
replaced. Target, address, alias, serial and everything else that the guest sees stay.
Of a disk with an overlay, what is below the overlay is updated, never the overlay (E8).

The format is replaced together with the source, and only then. As long as the source
is the same, the definition knows the format best: after a snapshot, Cinder updates the
name of the file in the attachment, but not the format.
"""

import copy
from collections.abc import Collection, Mapping

from lxml import etree

from stable_rescue import exception
from stable_rescue.domain import document, overlays, recognize
from stable_rescue.domain.document import Domain
from stable_rescue.domain.edits import Edit

# The elements that libvirt accepts in <disk> as well as in <source>.
_ACCESS = ("auth", "encryption")
# What a rescue replaces, or adds.
_OF_THE_RESCUE = (recognize.CONFIG_DRIVE, recognize.RESCUE_SUFFIX)


def refreshed(domain: Domain, fresh: Mapping[str, str]) -> tuple[Domain, list[Edit]]:
    """Return a definition whose volumes are read from their current sources (E4).

    If no source differs, the same domain is returned.

    :param fresh: by target name, the <disk> that Nova would write for a volume now
    :raises InvalidDomain: if one of these is not a <disk> with a <source>
    """
    parsed = {target: _parse(text) for target, text in fresh.items()}
    return _updated(domain, parsed, "volume", "U16")


def carried(
    domain: Domain, current: Domain, since: Domain | None = None
) -> tuple[Domain, list[Edit]]:
    """Return a definition whose disks have the sources that another one has (U36).

    If no source differs, the same domain is returned. The config drive keeps its
    source, because the rescue has another one (E5).

    :param current: what the guest runs with, or has last run with
    :param since: an earlier ``current``; only what has changed since is carried over
    """
    there = {document.target_of(disk)[0]: disk for disk in current.disks()}
    for disk in since.disks() if since else ():
        target = document.target_of(disk)[0]
        if target in there and _reads(disk) == _reads(there[target]):
            del there[target]
    fresh = {}
    for disk in domain.disks():
        target = document.target_of(disk)[0]
        if target in there and _is_same(disk, there[target]):
            fresh[target] = copy.deepcopy(there[target])
            # libvirt counts the sources of a running guest.
            _source(fresh[target]).attrib.pop("index", None)
    return _updated(domain, fresh, "disk", "U36")


def without(domain: Domain, targets: Collection[str]) -> tuple[Domain, list[Edit]]:
    """Return a definition without the disks that have these targets.

    If no disk has one of them, the same domain is returned.
    """
    draft = domain.copy()
    edits = []
    for disk in list(draft.disks()):
        target = document.target_of(disk)[0]
        if target in targets:
            draft.devices.remove(disk)
            edits.append(Edit("volume", f"{target} was detached", "U36"))
    return (draft, edits) if edits else (domain, [])


def serial_of(disk: etree._Element) -> str:
    """Return the serial of a disk, which is the volume's ID; empty if it has none."""
    return (disk.findtext("serial") or "").strip()


def path_of(disk: etree._Element) -> str | None:
    """Return the path on the compute host that a disk reads, or None."""
    return path_of_source(disk.find("source"))


def path_of_source(source: etree._Element | None) -> str | None:
    """Return the path on the compute host in a <source>, or None."""
    if source is None:
        return None
    return source.get("dev") or source.get("file")


def _updated(
    domain: Domain, fresh: Mapping[str, etree._Element], what: str, rule: str
) -> tuple[Domain, list[Edit]]:
    draft = domain.copy()
    edits = []
    for disk in draft.disks():
        target = document.target_of(disk)[0]
        if target in fresh:
            overlay = overlays.taken_off(disk)
            changed = _refresh(disk, fresh[target])
            if overlay is not None:
                overlays.put_on(disk, overlay)
            if changed:
                text = f"{target} reads its {what} by a new {', '.join(changed)}"
                edits.append(Edit(f"{what} source", text, rule))
    return (draft, edits) if edits else (domain, [])


def _reads(disk: etree._Element) -> list[tuple[str, str]]:
    """Return what a disk reads, in a form to compare."""
    source = disk.find("source")
    attributes = {} if source is None else dict(source.attrib)
    attributes.pop("index", None)  # libvirt counts the sources of a running guest
    return [("type", disk.get("type", "")), *sorted(attributes.items())]


def _is_same(disk: etree._Element, other: etree._Element) -> bool:
    """Return True if two disks with one target are the same disk."""
    if serial_of(disk) != serial_of(other):
        return False
    for source in (overlays.source_below(disk), other.find("source")):
        if source is None or any(
            source.get(key, "").endswith(_OF_THE_RESCUE)
            for key in recognize.SOURCE_KEYS
        ):
            return False
    return other.find(f"alias[@name='{recognize.RESCUE_ALIAS}']") is None


def _parse(text: str) -> etree._Element:
    disk = document.parse_element(text)
    if disk.tag != "disk" or disk.find("source") is None:
        raise exception.InvalidDomain("a volume is not a <disk> with a <source>")
    return disk


def _refresh(disk: etree._Element, fresh: etree._Element) -> list[str]:
    """Update a disk; return the names of what has changed."""
    changed = _set_source(disk, fresh)
    if changed:
        changed += _set_format(disk, fresh)
        for chain in disk.findall("backingStore"):
            disk.remove(chain)  # belongs to the old source
    changed += _set_hosts(_source(disk), _source(fresh))
    for tag in _ACCESS:
        current, given = _find(disk, tag), _find(fresh, tag)
        if given is None:
            continue  # an element that Nova would not write may be the operator's
        # Encryption is never added: the guest would see another disk.
        if current is None and tag == "auth":
            disk.insert(1 + _index(disk, "source"), copy.deepcopy(given))
            changed.append(tag)
        elif current is not None and _set_with_secret(current, given):
            changed.append(tag)
    return changed


def _source(disk: etree._Element) -> etree._Element:
    source = disk.find("source")
    assert source is not None  # _parse() has checked this
    return source


def _set_source(disk: etree._Element, fresh: etree._Element) -> list[str]:
    """Set the source, without hosts; return the names of what has changed."""
    source, new = disk.find("source"), _source(fresh)
    if source is not None and disk.get("type") == fresh.get("type"):
        return _set(source, new)
    added = copy.deepcopy(new)
    for auth in disk.findall("auth"):
        disk.remove(auth)  # belongs to the old type
    if source is None:
        disk.insert(1 + _index(disk, "driver"), added)
    else:
        # The content of the volume is still encrypted.
        added.extend(source.findall("encryption"))
        added.tail = source.tail
        disk.replace(source, added)
    disk.set("type", fresh.get("type", ""))
    return ["source"]


def _set_format(disk: etree._Element, fresh: etree._Element) -> list[str]:
    """Set the format, and no other attribute of the driver; return what has changed."""
    given, driver = fresh.find("driver"), disk.find("driver")
    image_format = None if given is None else given.get("type")
    if image_format is None:
        return []
    if driver is None:
        driver = etree.Element("driver", name="qemu")
        disk.insert(0, driver)
    if driver.get("type") == image_format:
        return []
    driver.set("type", image_format)
    return ["format"]


def _set(element: etree._Element, new: etree._Element) -> list[str]:
    """Set the attributes that differ; return their names."""
    changed = [k for k, v in new.attrib.items() if element.get(k) != v]
    for key in changed:
        element.set(key, new.get(key, ""))
    return changed


def _set_with_secret(element: etree._Element, new: etree._Element) -> bool:
    """Set the attributes of an element and its <secret>; return True if any changed."""
    changed = bool(_set(element, new))
    secret, given = element.find("secret"), new.find("secret")
    if secret is not None and given is not None:
        if secret.get("usage") and given.get("uuid"):
            return changed  # libvirt accepts only one of the two
        changed = bool(_set(secret, given)) or changed
    return changed


def _set_hosts(source: etree._Element, new: etree._Element) -> list[str]:
    """Replace the hosts if they differ; return the name of what has changed."""
    current, given = source.findall("host"), new.findall("host")
    if not given or list(map(_host, current)) == list(map(_host, given)):
        return []
    for host in current:
        source.remove(host)
    for index, host in enumerate(given):
        added = copy.deepcopy(host)
        added.tail = current[0].tail if current else None
        source.insert(index, added)
    return ["hosts"]


def _host(host: etree._Element) -> dict[str, str]:
    """Return the attributes of a host; an IPv6 address has brackets or none."""
    return {k: v.strip("[]") for k, v in host.attrib.items()}


def _find(disk: etree._Element, tag: str) -> etree._Element | None:
    element = disk.find(tag)
    return disk.find(f"source/{tag}") if element is None else element


def _index(disk: etree._Element, tag: str) -> int:
    """Return the index of a child; -1 if there is none."""
    child = disk.find(tag)
    return -1 if child is None else disk.index(child)
