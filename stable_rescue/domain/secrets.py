# SPDX-License-Identifier: Apache-2.0
"""The secrets in a definition, which libvirt returns only if it is asked for them."""

from stable_rescue.domain.document import Domain


def without_secrets(domain: Domain) -> Domain:
    """Return a definition without its secrets, or itself if it has none.

    These are what ``virsh dumpxml`` leaves out without ``--security-info``: the
    passwords of VNC and SPICE, and the cookies of disks on web servers.
    """
    draft = domain.copy()
    protected = draft.root.xpath("devices/graphics[@passwd]")
    cookies = draft.root.xpath("devices/disk//cookies")
    if not protected and not cookies:
        return domain
    for graphics in protected:
        del graphics.attrib["passwd"]
    for element in cookies:
        element.getparent().remove(element)
    return Domain.parse(draft.to_xml())
