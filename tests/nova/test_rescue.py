# SPDX-License-Identifier: Apache-2.0

"""Nova's functional tests of rescue, with StableRescueDriver and its manager."""

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
from tests.nova.mixins import (
    FakeLibvirtMixin,
    SharedStableRescueMixin,
    StableRescueMixin,
)


class TestDeletedBaseImage(
    StableRescueMixin, test_rescue_deleted_base.RescueServerTestWithDeletedBaseImage
):
    """Rescue works after the server's original image was deleted."""

    def _create_test_images(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Make the rescue image raw; Nova's OVA image is refused (U12)."""
        original, rescue = super()._create_test_images()
        raw = {"container_format": "bare", "disk_format": "raw"}
        self.glance.update(self.ctxt, rescue["id"], raw)
        return original, rescue


class TestShares(SharedStableRescueMixin, test_server_shares.ServerSharesTest):
    """Shares stay attached in a stock rescue: the image has no rescue properties."""


class TestStatelessFirmware(
    SharedStableRescueMixin, test_stateless_firmware.LibvirtStatelessFirmwareTest
):
    """Servers with stateless firmware support all operations."""


class TestDisallowVolumeBacked286(
    FakeLibvirtMixin, test_server_rescue.DisallowBFVRescuev286WithTrait
):
    """The API rejects a volume-backed rescue before microversion 2.87."""


class TestAllowVolumeBacked287(
    FakeLibvirtMixin, test_server_rescue.AllowBFVRescuev287WithTrait
):
    """StableRescueDriver reports the trait, so a volume-backed rescue works."""


class TestAllowVolumeBacked287WithProperties(
    FakeLibvirtMixin, test_server_rescue.AllowBFVRescuev287WithRescueImageProperties
):
    """The API accepts a volume-backed rescue if the image has rescue properties."""


class TestDisallowVolumeBacked287WithoutProperties(
    FakeLibvirtMixin,
    test_server_rescue.DisallowBFVRescuev287WithoutRescueImageProperties,
):
    """The API rejects a volume-backed rescue if the image has no rescue properties."""


class WithoutTrait(StableRescueDriver):
    """StableRescueDriver without the trait COMPUTE_RESCUE_BFV."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.capabilities["supports_bfv_rescue"] = False


class WithoutTraitMixin(FakeLibvirtMixin):
    """Runs Nova's tests of a host without the trait COMPUTE_RESCUE_BFV."""

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
    """The API rejects a volume-backed rescue before microversion 2.87."""


class TestDisallowVolumeBacked287WithoutTrait(
    WithoutTraitMixin, test_server_rescue.DisallowBFVRescuev287WithoutTrait
):
    """The API rejects a volume-backed rescue if the host does not have the trait."""
