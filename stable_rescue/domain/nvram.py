# SPDX-License-Identifier: Apache-2.0
"""A private copy of the UEFI variables for the rescue.

A rescue on the original NVRAM would delete the guest's own boot entry from it (U31,
F2). libvirt creates a missing NVRAM file from its template at start, with its own
privileges. If the original file is the template, stable_rescue needs no privileges to
make the copy.
"""

from dataclasses import dataclass

from lxml import etree

from stable_rescue import exception
from stable_rescue.domain.document import Domain, Draft
from stable_rescue.domain.recognize import RESCUE_SUFFIX


@dataclass(frozen=True)
class NvramCopy:
    """The path of the private copy.

    ``from_original`` is False if the server has never been started. The original file
    does not exist yet, and the copy is made from the template of the firmware.
    """

    path: str
    from_original: bool = True


def original_of(domain: Domain) -> str | None:
    """Return the path of a domain's NVRAM file, or None if it has no NVRAM.

    :raises Refused: if the NVRAM is not kept in a file that the definition names
    """
    nvram, path = _find(domain)
    os_element = domain.root.find("os")
    if os_element is not None and os_element.get("firmware") == "efi":
        _check_resolved(os_element)
    if nvram is None:
        return None
    if nvram.get("type", "file") != "file":
        raise exception.Refused(
            "the server's UEFI variables are not kept in a file, so they cannot be "
            "protected from the rescue"
        )
    if not path:
        raise exception.Refused(
            "the server's definition has no path for its UEFI variables, so they "
            "cannot be protected from the rescue"
        )
    return path


def redirect(draft: Draft, copy: NvramCopy) -> list[str]:
    """Make a domain with an NVRAM file run on a copy; return what was done."""
    nvram, original = _find(draft)
    os_element = draft.root.find("os")
    assert nvram is not None and os_element is not None
    edits = [
        *_drop_selection(os_element),
        f"UEFI variables in a private copy, {copy.path}",
    ]
    if copy.from_original:
        template = nvram.get("template")
        instead = f", not {template}" if template else ""
        edits.append(f"template of the copy is {original}{instead}")
        nvram.set("template", original)
        if nvram.get("format"):
            nvram.set("templateFormat", nvram.get("format", ""))
    source = nvram.find("source")
    if source is not None:
        source.set("file", copy.path)
    else:
        nvram.text = copy.path
    return edits


def _drop_selection(os_element: etree._Element) -> list[str]:
    """Remove automatic firmware selection if there is any; return what was done.

    libvirt rejects a template together with the selection. The result of the selection
    is part of the definition, so the selection can go.
    """
    selections = os_element.findall("firmware")
    if os_element.attrib.pop("firmware", None) is None and not selections:
        return []
    for selection in selections:
        os_element.remove(selection)
    loader = (os_element.findtext("loader") or "").strip()
    return [f"dropped the automatic selection of the firmware {loader}"]


def without_copy(rescue: Domain) -> Domain:
    """Return a rescue definition that leaves the path of its NVRAM file to libvirt.

    libvirt derives the path from the domain's name, as for all domains of Nova. If the
    definition has no copy, the same domain is returned.
    """
    draft = rescue.copy()
    nvram, path = _find(draft)
    if nvram is None or not path.endswith(RESCUE_SUFFIX):
        return rescue
    os_element = nvram.getparent()
    assert os_element is not None
    os_element.remove(nvram)
    return draft


def _find(domain: Domain) -> tuple[etree._Element | None, str]:
    """Return the <nvram> element and its path, which has one of two forms."""
    nvram = domain.root.find("os/nvram")
    if nvram is None:
        return None, ""
    source = nvram.find("source")
    if source is not None:
        return nvram, source.get("file", "")
    return nvram, (nvram.text or "").strip()


def _check_resolved(os_element: etree._Element) -> None:
    """Check that automatic firmware selection has filled in loader and NVRAM.

    :raises Refused: if the selection is still to be made, at the start of the rescue
    """
    loader, nvram = os_element.find("loader"), os_element.find("nvram")
    stateless = loader is not None and loader.get("stateless") == "yes"
    if (loader is None or nvram is None) and not stateless:
        raise exception.Refused(
            "the server's definition leaves its UEFI firmware to libvirt, so its "
            "variables cannot be protected from the rescue"
        )
