# SPDX-License-Identifier: Apache-2.0
"""Stock rescues through the manager of stable rescue: no server is lost."""

import datetime
from typing import Any
from unittest import mock

import ddt
from nova import objects
from nova.tests import fixtures as nova_fixtures

from stable_rescue.domain import recognize
from stable_rescue.domain.document import Domain
from tests.functional import images
from tests.functional.failures import FailureTestBase

DATA = b"rescue" * 200_000
LAUNCHED_AT = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
VOLUME = nova_fixtures.CinderFixture.IMAGE_BACKED_VOL


class GlanceDownTest(images.ImagesTestBase):
    """Glance fails; the image is fetched before power-off (U7, U28)."""

    def add_stock_image(self) -> str:
        """Add an image without the properties of a stable rescue; return its id."""
        image = self.add_image(DATA)
        self.glance_server.images[image]["properties"] = {}
        return image

    def test_glance_down_for_the_download_is_refused(self) -> None:
        image = self.add_stock_image()
        self.glance_server.down.add("download")
        self.assert_refused("image service does not answer", image=image)

    def test_glance_down_after_power_off_does_not_matter(self) -> None:
        image = self.add_stock_image()
        power_off = self.power_offs()

        def stop_glance(*_args: object) -> Any:
            self.glance_server.down.update({"show", "download"})
            return mock.DEFAULT

        power_off.side_effect = stop_glance
        self.rescue_server(image)
        medium = self.folder(self.server) / "disk.rescue"
        self.assertEqual(DATA, self.content_of(medium)[: len(DATA)])
        self.unrescue_server()
        self.assertEqual(self.original, self.definition(self.server))
        # Nova has noted the format of the root disk.
        self.assertEqual(["disk.info"], self.files(self.server))


@ddt.ddt
class StockRescueTest(FailureTestBase):
    """What stock rescue defines is up to Nova; everything around it is safe."""

    def make_server(self) -> None:
        self.server = self.create_server()
        self.image = self.create_rescue_image()
        self.api.post_server_volume(
            self.server["id"], {"volumeAttachment": {"volumeId": VOLUME}}
        )

    def set_launched_at(self) -> objects.Instance:
        """Set launched_at and the recorded machine type; return the server."""
        instance = self.instance()
        instance.launched_at = LAUNCHED_AT
        # What today's default is not (U4).
        instance.system_metadata["image_hw_machine_type"] = "pc-i440fx-7.2"
        instance.save()
        return instance

    def assert_kept(self, before: objects.Instance) -> None:
        """Assert that Nova's database has what `set_launched_at` has set."""
        now = self.instance()
        self.assertEqual(before.launched_at, now.launched_at)
        self.assertEqual(before.system_metadata, now.system_metadata)

    @ddt.data(True, False)
    def test_stock_rescue_and_unrescue_restore_the_server(self, running: bool) -> None:
        if not running:
            self._stop_server(self.server)
        before = self.set_launched_at()
        self.rescue_server()
        self.assertTrue(recognize.is_rescue(Domain.parse(self.live_definition())))
        self.assertEqual(self.original, self.store().load_original().to_xml())
        self.assert_kept(before)
        # The host is rebooted. In the rescue, other disks have the same targets.
        rescue = self.definition(self.server)
        self.libvirt_connection()._event_callbacks.clear()
        self.domain().destroy()
        self.restart_compute_service("compute1")
        self.assert_status("RESCUE")
        self.assertTrue(self.domain().isActive())
        self.assertEqual(rescue, self.definition(self.server))
        self.unrescue(self.server)
        self.assert_restored(running)
        self.assert_kept(before)

    @ddt.data(True, False)
    def test_failed_start_of_a_stock_rescue_is_rolled_back(self, running: bool) -> None:
        if not running:
            self._stop_server(self.server)
        before = self.set_launched_at()
        self.fail_launch(of_rescue=True)
        message = self.error_of(self.rescue, self.server, self.image)
        self.assertIn("could not be started", message)
        self.assertNotIn("/dev/x", message)
        self.assert_restored(running)
        self.assert_kept(before)

    def test_image_that_is_not_active_is_refused(self) -> None:
        image = self.create_rescue_image(status="queued")
        self.assert_refused("is queued, not active", image=image)
