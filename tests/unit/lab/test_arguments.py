# SPDX-License-Identifier: Apache-2.0
"""What the command line of the lab requests of a scene."""

import unittest
from unittest import mock

from lab import demo
from lab.__main__ import parser
from lab.demo.request import Request
from lab.guest import GuestImages


class RequestTest(unittest.TestCase):
    def request_of(self, *words: str) -> Request:
        """Return the request that a command line leads to."""
        paths = dict.fromkeys(GuestImages.__dataclass_fields__, "/nonexistent")
        images = GuestImages.of_paths(paths)
        lab = mock.MagicMock()
        with mock.patch("lab.guest.build", return_value=images):
            demo.main(lab, parser().parse_args(words))
        (command,) = lab.sandbox.call.call_args.args
        return Request.from_json(command[-1])

    def test_demo_plays_one_case_of_its_default_scene(self) -> None:
        request = self.request_of("demo")
        self.assertEqual(("hotplug", False), (request.scene, request.every_case))

    def test_host_reboot_plays_all_cases_of_its_scene(self) -> None:
        request = self.request_of("host-reboot", "--keep")
        self.assertEqual(("host-reboot", True), (request.scene, request.every_case))
