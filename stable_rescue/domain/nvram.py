# SPDX-License-Identifier: Apache-2.0
"""A private NVRAM for the rescue, so that the guest keeps its boot entries.

A UEFI rescue deletes the guest's own entry from the NVRAM that it runs on (UPSTREAM
U31, LIBVIRT F2). libvirt makes an NVRAM file that is not there from its template, at
start and with its own rights: with the original as the template, the copy costs no
privilege of ours.
"""

from dataclasses import dataclass

from lxml import etree

from stable_rescue import exception
from stable_rescue.domain.document import Domain, Draft


@dataclass(frozen=True)
class NvramCopy:
    """Where the private copy lies.

    ``from_original`` is false where the original is not there yet: the server has
    never been started, and the copy comes from the firmware's own template.
    """

    path: str
    from_original: bool = True


def original_of(domain: Domain) -> str | None:
    """Return the path of a domain's NVRAM file, or None where it has none.

    :raises Refused: where it is kept in another way than as a file
    """
    nvram, path = _find(domain)
    os_element = domain.root.find("os")
    if os_element is not None and os_element.get("firmware") == "efi":
        _check_resolved(os_element)
    if nvram is None:
        return None
    if nvram.get("type", "file") != "file":
        raise exception.Refused(
            "the server's UEFI variables are not kept in a file, and cannot be "
            "protected from the rescue"
        )
    if not path:
        raise exception.Refused("the server's UEFI variables are not known to libvirt")
    return path


def redirect(domain: Draft, copy: NvramCopy) -> str:
    """Have the domain run on a private copy of its NVRAM; return what was done.

    The domain has an NVRAM file (:func:`original_of`).
    """
    nvram, original = _find(domain)
    os_element = domain.root.find("os")
    assert nvram is not None and os_element is not None
    # libvirt takes no template beside automatic firmware selection, whose result
    # stands in the definition already.
    os_element.attrib.pop("firmware", None)
    for selection in os_element.findall("firmware"):
        os_element.remove(selection)
    if copy.from_original:
        nvram.set("template", original)
        if nvram.get("format"):
            nvram.set("templateFormat", nvram.get("format", ""))
    source = nvram.find("source")
    if source is not None:
        source.set("file", copy.path)
    else:
        nvram.text = copy.path
    return f"UEFI variables in a private copy, {copy.path}"


def _find(domain: Domain) -> tuple[etree._Element | None, str]:
    """Return the <nvram> element and the path in it, in either of its forms."""
    nvram = domain.root.find("os/nvram")
    if nvram is None:
        return None, ""
    source = nvram.find("source")
    if source is not None:
        return nvram, source.get("file", "")
    return nvram, (nvram.text or "").strip()


def _check_resolved(os_element: etree._Element) -> None:
    """Check that what libvirt has to select is selected: a loader, and an NVRAM.

    The selection cannot be left to libvirt, which takes no template beside it.
    """
    loader, nvram = os_element.find("loader"), os_element.find("nvram")
    stateless = loader is not None and loader.get("stateless") == "yes"
    if (loader is None or nvram is None) and not stateless:
        raise exception.Refused(
            "the server's definition leaves its UEFI firmware to libvirt, so its "
            "variables cannot be protected from the rescue"
        )
