# SPDX-License-Identifier: Apache-2.0
"""The context with which nova-compute asks other services on its own account."""

from keystoneauth1 import exceptions as keystone_exception
from keystoneauth1 import noauth
from nova import conf as nova_conf
from oslotest import base

from stable_rescue import nova_internals

CONF = nova_conf.CONF


class ServiceUserTest(base.BaseTestCase):
    def set_auth_type(self, value: str | None) -> None:
        CONF.set_override("auth_type", value, group="service_user")
        self.addCleanup(CONF.clear_override, "auth_type", group="service_user")

    def test_context_has_the_credentials_of_service_user(self) -> None:
        self.set_auth_type("none")
        context = nova_internals.service_user_context()
        self.assertIsInstance(context.get_auth_plugin(), noauth.NoAuth)
        self.assertTrue(context.is_admin)
        self.assertIsNone(context.auth_token)

    def test_no_credentials_mean_no_context(self) -> None:
        self.set_auth_type(None)
        self.assertIsNone(nova_internals.service_user_context())

    def test_unknown_kind_of_credentials_is_an_error(self) -> None:
        self.set_auth_type("unheard-of")
        self.assertRaises(
            keystone_exception.NoMatchingPlugin, nova_internals.service_user_context
        )
