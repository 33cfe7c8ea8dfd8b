# SPDX-License-Identifier: Apache-2.0
"""UPSTREAM U31: the rescue runs on a private copy of the UEFI variables."""

import ddt
from lxml import etree
from oslotest import base

from stable_rescue import exception, plan
from stable_rescue.domain import invariants
from stable_rescue.domain.document import Domain
from stable_rescue.domain.nvram import NvramCopy
from tests.unit.domain import samples

OWN = "/var/lib/libvirt/qemu/nvram/instance-00000001_VARS.fd"
COPY = "/var/lib/nova/instances/0f4b0a6e/nvram.rescue"
LOADER = "<loader readonly='yes' type='pflash'>/OVMF_CODE.fd</loader>"


def uefi(*elements: str, **attributes: str) -> Domain:
    own = samples.domain("q35")
    os_element = own.root.find("os")
    os_element.attrib.update(attributes)
    for element in elements:
        os_element.append(etree.fromstring(element))
    return own


def rescued_os(own: Domain, copy: NvramCopy | None = None) -> etree._Element:
    media = plan.RescueMedia(samples.MEDIUM, copy)
    made = plan.derive(own, plan.RescueRequest(bus="usb"), media)
    return made.rescue.root.find("os")


@ddt.ddt
class NvramTest(base.BaseTestCase):
    def test_the_original_is_the_copys_template(self) -> None:
        own = uefi(LOADER, f"<nvram template='/OVMF_VARS.fd'>{OWN}</nvram>")
        nvram = rescued_os(own, NvramCopy(COPY)).find("nvram")
        self.assertEqual((COPY, OWN), (nvram.text, nvram.get("template")))

    def test_before_the_first_start_the_firmwares_own_template_stays(self) -> None:
        own = uefi(LOADER, f"<nvram template='/OVMF_VARS.fd'>{OWN}</nvram>")
        nvram = rescued_os(own, NvramCopy(COPY, from_original=False)).find("nvram")
        self.assertEqual((COPY, "/OVMF_VARS.fd"), (nvram.text, nvram.get("template")))

    def test_beside_the_original_if_nothing_else_is_said(self) -> None:
        own = uefi(LOADER, f"<nvram>{OWN}</nvram>")
        self.assertEqual(f"{OWN}.rescue", rescued_os(own).find("nvram").text)

    def test_the_form_with_a_source(self) -> None:
        own = uefi(
            LOADER,
            f"<nvram type='file' format='qcow2'><source file='{OWN}'/></nvram>",
        )
        nvram = rescued_os(own, NvramCopy(COPY)).find("nvram")
        self.assertEqual(COPY, nvram.find("source").get("file"))
        self.assertEqual(
            (OWN, "qcow2"), (nvram.get("template"), nvram.get("templateFormat"))
        )

    def test_a_resolved_firmware_selection_is_dropped(self) -> None:
        own = uefi(
            "<firmware><feature enabled='no' name='secure-boot'/></firmware>",
            LOADER,
            f"<nvram>{OWN}</nvram>",
            firmware="efi",
        )
        os_element = rescued_os(own, NvramCopy(COPY))
        self.assertIsNone(os_element.get("firmware"))
        self.assertIsNone(os_element.find("firmware"))

    def test_stateless_firmware_has_nothing_to_protect(self) -> None:
        own = uefi("<loader stateless='yes'>/OVMF.fd</loader>", firmware="efi")
        self.assertEqual("efi", rescued_os(own).get("firmware"))

    @ddt.data(
        ((), "leaves its UEFI firmware to libvirt"),
        ((LOADER,), "leaves its UEFI firmware to libvirt"),
        # libvirt 9.0 keeps a path that it is given, and selects at each start
        ((f"<nvram>{OWN}</nvram>",), "leaves its UEFI firmware to libvirt"),
        ((LOADER, "<nvram type='network'><source/></nvram>"), "not kept in a file"),
        ((LOADER, "<nvram template='/x'/>"), "has no path"),
    )
    @ddt.unpack
    def test_what_cannot_be_protected_is_refused(
        self, elements: tuple[str, ...], reason: str
    ) -> None:
        own = uefi(*elements, firmware="efi")
        refused = self.assertRaises(exception.Refused, rescued_os, own)
        self.assertIn(reason, str(refused))

    def test_the_judge_sees_a_shared_nvram(self) -> None:
        own = uefi(LOADER, f"<nvram>{OWN}</nvram>")
        made = plan.derive(own, plan.RescueRequest(bus="usb"), samples.MEDIA)
        after = made.rescue
        after.root.find("os/nvram").text = OWN
        self.assertRaises(exception.InvariantBroken, invariants.check, own, after)
