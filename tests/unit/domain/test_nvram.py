# SPDX-License-Identifier: Apache-2.0
"""The rescue runs on a private copy of the UEFI variables (E6, U31, F2)."""

import ddt
from lxml import etree
from oslotest import base

from stable_rescue import exception, plan
from stable_rescue.domain import invariants
from stable_rescue.domain.document import Domain
from stable_rescue.domain.nvram import NvramCopy
from tests.unit.domain import samples

ORIGINAL = "/var/lib/libvirt/qemu/nvram/instance-00000001_VARS.fd"
COPY = "/var/lib/nova/instances/0f4b0a6e/nvram.rescue"
LOADER = "<loader readonly='yes' type='pflash'>/OVMF_CODE.fd</loader>"


def uefi(*elements: str, **attributes: str) -> Domain:
    """Return a definition with elements and attributes in <os>."""
    original = samples.domain("q35")
    os_element = original.root.find("os")
    os_element.attrib.update(attributes)
    for element in elements:
        os_element.append(etree.fromstring(element))
    return original


def rescued_os(original: Domain, copy: NvramCopy | None = None) -> etree._Element:
    """Return the <os> element of the rescue definition."""
    media = plan.RescueMedia(samples.MEDIUM, copy)
    derived = plan.derive(original, plan.RescueRequest(bus="usb"), media)
    return derived.rescue.root.find("os")


def edits_of(original: Domain, copy: NvramCopy) -> list[str]:
    """Return what a plan says of UEFI."""
    media = plan.RescueMedia(samples.MEDIUM, copy)
    derived = plan.derive(original, plan.RescueRequest(bus="usb"), media)
    return [edit.what for edit in derived.edits if edit.name == "nvram"]


@ddt.ddt
class NvramTest(base.BaseTestCase):
    def test_plan_lists_the_copy_and_its_template(self) -> None:
        original = uefi(LOADER, f"<nvram template='/OVMF_VARS.fd'>{ORIGINAL}</nvram>")
        self.assertEqual(
            [
                f"UEFI variables in a private copy, {COPY}",
                f"template of the copy is {ORIGINAL}, not /OVMF_VARS.fd",
            ],
            edits_of(original, NvramCopy(COPY)),
        )
        self.assertEqual(
            [f"UEFI variables in a private copy, {COPY}"],
            edits_of(original, NvramCopy(COPY, from_original=False)),
        )

    def test_plan_lists_the_removed_firmware_selection(self) -> None:
        original = uefi(
            "<firmware><feature enabled='no' name='secure-boot'/></firmware>",
            LOADER,
            f"<nvram>{ORIGINAL}</nvram>",
            firmware="efi",
        )
        self.assertEqual(
            [
                "dropped the automatic selection of the firmware /OVMF_CODE.fd",
                f"UEFI variables in a private copy, {COPY}",
                f"template of the copy is {ORIGINAL}",
            ],
            edits_of(original, NvramCopy(COPY)),
        )

    def test_original_is_the_template_of_the_copy(self) -> None:
        original = uefi(LOADER, f"<nvram template='/OVMF_VARS.fd'>{ORIGINAL}</nvram>")
        nvram = rescued_os(original, NvramCopy(COPY)).find("nvram")
        self.assertEqual((COPY, ORIGINAL), (nvram.text, nvram.get("template")))

    def test_template_of_the_firmware_is_kept_before_first_start(self) -> None:
        original = uefi(LOADER, f"<nvram template='/OVMF_VARS.fd'>{ORIGINAL}</nvram>")
        nvram = rescued_os(original, NvramCopy(COPY, from_original=False)).find("nvram")
        self.assertEqual((COPY, "/OVMF_VARS.fd"), (nvram.text, nvram.get("template")))

    def test_copy_without_a_path_is_next_to_the_original(self) -> None:
        original = uefi(LOADER, f"<nvram>{ORIGINAL}</nvram>")
        self.assertEqual(f"{ORIGINAL}.rescue", rescued_os(original).find("nvram").text)

    def test_path_in_a_source_element_is_replaced(self) -> None:
        original = uefi(
            LOADER,
            f"<nvram type='file' format='qcow2'><source file='{ORIGINAL}'/></nvram>",
        )
        nvram = rescued_os(original, NvramCopy(COPY)).find("nvram")
        self.assertEqual(COPY, nvram.find("source").get("file"))
        self.assertEqual(
            (ORIGINAL, "qcow2"), (nvram.get("template"), nvram.get("templateFormat"))
        )

    def test_resolved_firmware_selection_is_removed(self) -> None:
        original = uefi(
            "<firmware><feature enabled='no' name='secure-boot'/></firmware>",
            LOADER,
            f"<nvram>{ORIGINAL}</nvram>",
            firmware="efi",
        )
        os_element = rescued_os(original, NvramCopy(COPY))
        self.assertIsNone(os_element.get("firmware"))
        self.assertIsNone(os_element.find("firmware"))

    def test_stateless_firmware_is_not_changed(self) -> None:
        original = uefi("<loader stateless='yes'>/OVMF.fd</loader>", firmware="efi")
        self.assertEqual("efi", rescued_os(original).get("firmware"))

    @ddt.data(
        ((), "leaves its UEFI firmware to libvirt"),
        ((LOADER,), "leaves its UEFI firmware to libvirt"),
        # libvirt 9.0 keeps a given path but selects the firmware at each start.
        ((f"<nvram>{ORIGINAL}</nvram>",), "leaves its UEFI firmware to libvirt"),
        ((LOADER, "<nvram type='network'><source/></nvram>"), "not kept in a file"),
        ((LOADER, "<nvram template='/x'/>"), "has no path"),
    )
    @ddt.unpack
    def test_nvram_that_cannot_be_copied_is_refused(
        self, elements: tuple[str, ...], reason: str
    ) -> None:
        original = uefi(*elements, firmware="efi")
        refused = self.assertRaises(exception.Refused, rescued_os, original)
        self.assertIn(reason, str(refused))

    def test_rescue_on_the_original_nvram_breaks_an_invariant(self) -> None:
        original = uefi(LOADER, f"<nvram>{ORIGINAL}</nvram>")
        derived = plan.derive(original, plan.RescueRequest(bus="usb"), samples.MEDIA)
        derived.rescue.root.find("os/nvram").text = ORIGINAL
        self.assertRaises(
            exception.InvariantBroken, invariants.check, original, derived.rescue
        )
