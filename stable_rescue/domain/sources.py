# SPDX-License-Identifier: Apache-2.0
"""What the volumes of a definition are read from (DESIGN.md, edit 4).

A volume's multipath device, a monitor's address, or the secret of an encrypted one may
be another than when the definition was written. Only that is changed: target, address,
alias, serial, and all that says how the guest sees the disk are kept.
"""

import copy
from collections.abc import Mapping

from lxml import etree

from stable_rescue import exception
from stable_rescue.domain import document
from stable_rescue.domain.document import Domain
from stable_rescue.domain.edits import Edit

# What says how a source is opened; libvirt takes it in <disk> or in <source>.
_ACCESS = ("auth", "encryption")


def refreshed(domain: Domain, fresh: Mapping[str, str]) -> tuple[Domain, list[Edit]]:
    """Return a definition whose volumes are read from their current sources (E4).

    If no source differs, the same domain is returned.

    :param fresh: by target name, the <disk> that Nova would write for a volume now
    :raises InvalidDomain: if one of these is not a <disk> with a <source>
    """
    draft = domain.copy()
    done = []
    for disk in draft.disks():
        target = document.target_of(disk)[0]
        if target in fresh:
            changed = _refresh(disk, _parse(fresh[target]))
            if changed:
                what = f"{target} reads its volume by a new {', '.join(changed)}"
                done.append(Edit("volume source", what, "U16"))
    return (draft, done) if done else (domain, [])


def serial_of(disk: etree._Element) -> str:
    """Return a disk's serial, which is the volume's id; empty where it has none."""
    return (disk.findtext("serial") or "").strip()


def path_of(disk: etree._Element) -> str | None:
    """Return the host's path that a disk reads, or None where it reads none."""
    source = disk.find("source")
    if source is None:
        return None
    return source.get("dev") or source.get("file")


def _parse(text: str) -> etree._Element:
    disk = document.parse_element(text)
    if disk.tag != "disk" or disk.find("source") is None:
        raise exception.InvalidDomain("a volume's source is no <disk> with a <source>")
    return disk


def _refresh(disk: etree._Element, fresh: etree._Element) -> list[str]:
    """Take over what differs; return what it was."""
    source, new = disk.find("source"), fresh.find("source")
    assert new is not None  # _parse() has seen it
    if source is None or disk.get("type") != fresh.get("type"):
        _replace(disk, source, new)
        disk.set("type", fresh.get("type", ""))
        changed = ["source"]
    else:
        changed = _set(source, new) + _set_hosts(source, new)
    for tag in _ACCESS:
        own, given = _find(disk, tag), _find(fresh, tag)
        # What Nova does not say now may be an operator's, and stays; an encryption
        # that the definition does not have would show the guest another disk.
        if own is None and given is not None and tag == "auth":
            disk.insert(1 + _index(disk, "source"), copy.deepcopy(given))
            changed.append(tag)
        elif own is not None and given is not None and _set_all(own, given):
            changed.append(tag)
    return changed


def _replace(
    disk: etree._Element, source: etree._Element | None, new: etree._Element
) -> None:
    """Put another kind of source in place of one; what it holds stays encrypted."""
    added = copy.deepcopy(new)
    for auth in disk.findall("auth"):
        disk.remove(auth)  # it was for the other kind
    if source is None:
        disk.insert(1 + _index(disk, "driver"), added)
    else:
        added.extend(source.findall("encryption"))
        added.tail = source.tail
        disk.replace(source, added)


def _set(element: etree._Element, new: etree._Element) -> list[str]:
    """Set the attributes that differ; return their names."""
    changed = [k for k, v in new.attrib.items() if element.get(k) != v]
    for key in changed:
        element.set(key, new.get(key, ""))
    return changed


def _set_all(element: etree._Element, new: etree._Element) -> bool:
    """Set what differs in an element and in its <secret>; say whether any did."""
    changed = bool(_set(element, new))
    own, given = element.find("secret"), new.find("secret")
    if own is not None and given is not None:
        if own.get("usage") and given.get("uuid"):
            return changed  # libvirt takes one of both; the definition's is by name
        changed = bool(_set(own, given)) or changed
    return changed


def _set_hosts(source: etree._Element, new: etree._Element) -> list[str]:
    own, given = source.findall("host"), new.findall("host")
    if not given or list(map(_host, own)) == list(map(_host, given)):
        return []
    for host in own:
        source.remove(host)
    for place, host in enumerate(given):
        added = copy.deepcopy(host)
        added.tail = own[0].tail if own else None
        source.insert(place, added)
    return ["hosts"]


def _host(host: etree._Element) -> dict[str, str]:
    return {k: v.strip("[]") for k, v in host.attrib.items()}


def _find(disk: etree._Element, tag: str) -> etree._Element | None:
    found = disk.find(tag)
    return disk.find(f"source/{tag}") if found is None else found


def _index(disk: etree._Element, tag: str) -> int:
    """Return the place of a child; -1 where there is none."""
    child = disk.find(tag)
    return -1 if child is None else disk.index(child)
