# SPDX-License-Identifier: Apache-2.0
"""Errors that become refusals, with the text that the server's owner reads."""

import ddt
from nova import exception as nova_exception
from nova import objects
from oslotest import base

from stable_rescue import exception
from stable_rescue.virt.refusal import refusing

UUID = "6a7e1d0c-1f3b-4f1e-8f8c-2f1c8a0f7d11"


@ddt.ddt
class RefusingTest(base.BaseTestCase):
    def setUp(self) -> None:
        super().setUp()
        objects.register_all()
        self.instance = objects.Instance(uuid=UUID)

    def refused(self, error: Exception) -> str:
        def rescue() -> None:
            with refusing(self.instance):
                raise error

        refusal = self.assertRaises(nova_exception.InstanceNotRescuable, rescue)
        self.assertIs(error, refusal.__cause__)
        return refusal.format_message()

    @ddt.data(
        (exception.Refused("no room"), "no room"),
        (exception.InvalidDomain("/etc/x"), "ask the operator"),
        (nova_exception.InstanceNotFound(instance_id=UUID), "has no definition"),
        (nova_exception.ImageNotFound(image_id="i"), "does not exist"),
        (nova_exception.ImageNotAuthorized(image_id="i"), "denies access"),
        (
            nova_exception.ImageUnacceptable(image_id="i", reason="vmdk"),
            "cannot be used: Image i is unacceptable: vmdk",
        ),
        (OSError(28, "No space left on device", "/var/x"), "No space left on device"),
        (
            nova_exception.ImageUnacceptable(image_id="i", reason="qemu-img /var/x"),
            "the rescue image cannot be used",
        ),
        (
            nova_exception.GlanceConnectionFailed(server="http://g", reason="r"),
            "image service does not answer",
        ),
        (OSError("connection to http://g broken"), "a transfer failed"),
        (RuntimeError("/var/lib/secret"), "ask the operator"),
    )
    @ddt.unpack
    def test_reason_is_fit_for_a_tenant(self, error: Exception, part: str) -> None:
        reason = self.refused(error)
        self.assertIn(part, reason)
        self.assertNotIn("/", reason)

    def test_refusal_propagates_unchanged(self) -> None:
        refusal = nova_exception.InstanceNotRescuable(instance_id=UUID, reason="r")

        def rescue() -> None:
            with refusing(self.instance):
                raise refusal

        self.assertIs(
            refusal, self.assertRaises(nova_exception.InstanceNotRescuable, rescue)
        )
