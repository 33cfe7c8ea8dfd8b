# SPDX-License-Identifier: Apache-2.0

"""Nova's own functional tests of rescue, with our driver and manager."""

import importlib
from typing import Any
from unittest import mock

from nova.tests.functional import test_server_rescue
from nova.tests.functional.libvirt import (
    test_rescue_deleted_base,
    test_server_shares,
    test_stateless_firmware,
)

from stable_rescue import activation
from stable_rescue.virt.driver import StableRescueDriver
from tests.nova.ours import FakeLibvirtMixin, OurDriverMixin


class TestDeletedBaseImage(
    OurDriverMixin, test_rescue_deleted_base.RescueServerTestWithDeletedBaseImage
):
    """Rescue does not need the image the server was made from."""

    def _create_test_images(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Make the rescue image raw: no libvirt host could use Nova's OVA (U12)."""
        own, rescue = super()._create_test_images()
        usable = {"container_format": "bare", "disk_format": "raw"}
        self.glance.update(self.ctxt, rescue["id"], usable)
        return own, rescue


class TestShares(OurDriverMixin, test_server_shares.ServerSharesTest):
    """Shares, through Nova's own rescue too: the image has none of our properties."""


class TestStatelessFirmware(
    OurDriverMixin, test_stateless_firmware.LibvirtStatelessFirmwareTest
):
    """All that a server goes through with firmware that keeps no state."""


class TestDisallowVolumeBacked286(
    FakeLibvirtMixin, test_server_rescue.DisallowBFVRescuev286WithTrait
):
    """Before microversion 2.87 the API refuses, whatever the host can do."""


class TestAllowVolumeBacked287(
    FakeLibvirtMixin, test_server_rescue.AllowBFVRescuev287WithTrait
):
    """Our host says that it can rescue volume-backed servers, and does."""


class TestAllowVolumeBacked287WithProperties(
    FakeLibvirtMixin, test_server_rescue.AllowBFVRescuev287WithRescueImageProperties
):
    """The image says how the rescue disk is attached, hence it is allowed."""


class TestDisallowVolumeBacked287WithoutProperties(
    FakeLibvirtMixin,
    test_server_rescue.DisallowBFVRescuev287WithoutRescueImageProperties,
):
    """Without the image's properties the API refuses."""


class WithoutTrait(StableRescueDriver):
    """Our driver on a host that says it cannot rescue volume-backed servers."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.capabilities["supports_bfv_rescue"] = False


class WithoutTraitMixin(FakeLibvirtMixin):
    """For Nova's tests of a host without the trait COMPUTE_RESCUE_BFV."""

    def setUp(self) -> None:
        activation.install_finder()
        nova_virt = importlib.import_module(activation.MODULE)
        patch = mock.patch.object(nova_virt, "StableRescueDriver", WithoutTrait)
        patch.start()
        self.addCleanup(patch.stop)
        super().setUp()


class TestDisallowVolumeBacked286WithoutTrait(
    WithoutTraitMixin, test_server_rescue.DisallowBFVRescuev286
):
    """Before microversion 2.87 the API refuses."""


class TestDisallowVolumeBacked287WithoutTrait(
    WithoutTraitMixin, test_server_rescue.DisallowBFVRescuev287WithoutTrait
):
    """The API asks for the trait."""
