# SPDX-License-Identifier: Apache-2.0
"""Placement knows which hosts can do a stable rescue."""

from stable_rescue.virt.driver import TRAIT
from tests.functional import base


class TraitTestBase(base.RescueTestBase):
    def traits(self) -> list[str]:
        """Return the traits of the host in placement."""
        provider = self._get_provider_uuid_by_host("compute1")
        return list(self._get_provider_traits(provider))


class TraitTest(TraitTestBase):
    def test_trait_that_placement_lost_is_reported_again(self) -> None:
        self.assertIn(TRAIT, self.traits())
        provider = self._get_provider_uuid_by_host("compute1")
        self._set_provider_traits(provider, [])
        self.assertNotIn(TRAIT, self.traits())
        self.restart_compute_service("compute1")
        self.assertIn(TRAIT, self.traits())

    def test_server_that_requires_the_trait_finds_the_host(self) -> None:
        flavor = self._create_flavor(extra_spec={f"trait:{TRAIT}": "required"})
        server = self._build_server(networks="none") | {"flavorRef": flavor}
        self.boot(server)


class LxcTraitTest(TraitTestBase):
    def setUp(self) -> None:
        super().setUp()
        self.flags(virt_type="lxc", group="libvirt")

    def test_host_without_stable_rescue_loses_the_trait(self) -> None:
        self.assertIn(TRAIT, self.traits())
        self.computes["compute1"].manager.update_available_resource(self.context)
        self.assertNotIn(TRAIT, self.traits())


class StockDriverTraitTest(TraitTestBase):
    compute_driver = "libvirt.LibvirtDriver"

    def test_host_has_no_trait(self) -> None:
        self.assertNotIn(TRAIT, self.traits())
