# SPDX-License-Identifier: Apache-2.0
"""Plans of rescues with real images and with volumes."""

from typing import Any
from unittest import mock

import fixtures
from keystoneauth1 import token_endpoint
from nova import objects

from stable_rescue.cmd.exits import REFUSED
from tests.functional.glance import USERS_TOKEN
from tests.functional.images import ImagesTestBase
from tests.functional.plans import PlanTestBase
from tests.functional.volumes import DOWN, VOLUMES, VolumesTestBase

DATA = b"rescue" * 200_000


class PlanImagesTest(PlanTestBase, ImagesTestBase):
    """A host with real images and real files."""

    # Nova's image backends write disk.info, and the plan removes their lines.
    allowed_steps = frozenset(
        ("write a temporary file", "move a file into place", "remove a file")
    )

    def test_rescue_defines_what_was_planned(self) -> None:
        kernel = self.add_image(DATA, properties={}, container_format="aki")
        for image, finding in (
            (self.add_image(DATA), "after its first 4 MiB"),
            (self.add_image(DATA, properties={"kernel_id": kernel}), "the kernel"),
        ):
            plan = self.plan(image)
            self.assertIn(finding, "".join(plan.findings))
            self.assert_rescue_is_as_planned(plan, image)
            self.unrescue_server()

    def test_glance_is_asked_with_the_token_of_the_service_user(self) -> None:
        # Options of two kinds of credentials cannot be registered in one process.
        self.useFixture(
            fixtures.MockPatch(
                "keystoneauth1.loading.load_auth_from_conf_options",
                return_value=token_endpoint.Token(
                    self.glance_server.url, "the service user's"
                ),
            )
        )
        image = self.add_image(DATA)
        self.glance_server.tokens.clear()
        self.plan(image)
        self.assertEqual({"the service user's"}, self.glance_server.tokens)
        self.glance_server.tokens.clear()
        self.rescue_server(image)
        self.assertEqual({USERS_TOKEN}, self.glance_server.tokens)

    def test_added_config_drive_is_planned(self) -> None:
        self.flags(config_drive="always", group="stable_rescue")
        image = self.add_image(DATA)
        self.assert_rescue_is_as_planned(self.plan(image), image)

    def test_format_that_is_the_images_has_a_finding(self) -> None:
        self.flags(images_type="raw", group="libvirt")
        self.flags(force_raw_images=False)
        plan = self.plan(self.add_image(DATA))
        self.assertIn("the format of the rescue disk", "".join(plan.findings))

    def test_medium_of_an_earlier_rescue_stays(self) -> None:
        medium = self.folder(self.server) / "disk.rescue"
        medium.write_bytes(self.make("qcow2"))
        image = self.add_image(DATA)
        self.assert_rescue_is_as_planned(self.plan(image), image)

    def test_hostile_image_is_refused_as_in_a_rescue(self) -> None:
        data = self.make("qcow2", "-u", "-b", "/etc/shadow", "-F", "raw")
        image = self.add_image(data, "qcow2")
        self.assert_both_refuse("safety check", image)

    def test_glance_that_is_down_is_reported_as_in_a_rescue(self) -> None:
        image = self.add_image(DATA)
        self.glance_server.down.add("download")
        self.assert_both_refuse("the image service does not answer", image)


class PlanVolumesTest(PlanTestBase, VolumesTestBase):
    def observed(self) -> dict[str, Any]:
        return super().observed() | {
            "connections": self.connections(),
            "storage": list(self.storage.events),
        }

    def test_rescue_defines_what_was_planned(self) -> None:
        self.assert_rescue_is_as_planned(self.plan(), self.image)

    def test_volume_that_cannot_be_used_is_refused_as_in_a_rescue(self) -> None:
        self.storage.unreadable.add(VOLUMES[1])
        self.assert_both_refuse("cannot be read")

    def test_cinder_that_is_down_is_reported_as_in_a_rescue(self) -> None:
        self.patch_volume(DOWN)
        self.assert_both_refuse("the volume service does not answer")

    def test_cinder_is_not_asked_without_credentials(self) -> None:
        self.flags(auth_type=None, group="cinder")
        self.patch_volume(DOWN)
        self.assertIn("the volumes in Cinder", self.plan().findings[0])

    def test_volumes_of_a_stopped_server_are_not_connected(self) -> None:
        self.stop()
        self.storage.reboot()
        self.storage.broken.add(VOLUMES[0])
        findings = [each for each in self.plan().findings if "is off" in each]
        self.assertEqual(len(VOLUMES), len(findings))
        self.flags(allowed_writes="keep,discard", group="stable_rescue")
        findings = self.plan(hw_rescue_writes="discard").findings
        self.assertIn("whether the host has space", "".join(findings))

    def test_lost_secret_of_a_volume_is_not_made(self) -> None:
        with (
            mock.patch("stable_rescue.virt.planning.lacks_secret", return_value=True),
            mock.patch("stable_rescue.nova_internals.make_volume_secret") as make,
        ):
            findings = [each for each in self.plan().findings if "its secret" in each]
        self.assertEqual(len(VOLUMES), len(findings))
        make.assert_not_called()

    def test_volume_backed_server_needs_both_properties(self) -> None:
        mapping = objects.BlockDeviceMappingList.get_by_instance_uuid(
            self.context, self.server["id"]
        )
        root = mapping.root_bdm()
        root.destination_type = root.source_type = "volume"
        root.volume_id = VOLUMES[2]
        with mock.patch.object(
            objects.BlockDeviceMappingList, "root_bdm", return_value=root
        ):
            self.assert_not_planned(REFUSED, "Cannot rescue a volume-backed")
            self.plan(hw_rescue_bus="usb", hw_rescue_device="disk")
