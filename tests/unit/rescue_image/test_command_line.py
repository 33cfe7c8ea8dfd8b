# SPDX-License-Identifier: Apache-2.0
"""The command line of tools/rescue-image."""

import contextlib
import importlib.machinery
import importlib.util
import io
from pathlib import Path
from typing import Any
from unittest import mock

from oslotest import base
from rescue_images import ImageError

from tests.unit.rescue_image import ROOT


def _script() -> Any:
    path = str(ROOT / "tools" / "rescue-image")
    loader = importlib.machinery.SourceFileLoader("tools_rescue_image", path)
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


class CommandLineTestCase(base.BaseTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.script = _script()
        for name in ("build", "check", "upload", "signal"):
            patch = mock.patch.object(self.script, name)
            setattr(self, name, patch.start())
            self.addCleanup(patch.stop)
        self.upload.return_value = "image 1 (rescue) is active"
        self.check.return_value = 0

    def run_command(self, line: str) -> tuple[int, str]:
        output = io.StringIO()
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            status = self.script.main(line.split()[1:])
        return status, output.getvalue()

    def test_build_makes_both_images_and_uploads_none(self) -> None:
        status, _ = self.run_command("tools/rescue-image build")
        self.assertEqual(0, status)
        options = self.build.call_args.args[0]
        self.assertEqual(("qcow2", "iso"), options.formats)
        self.assertEqual(ROOT / ".rescue-image", options.out)
        self.upload.assert_not_called()

    def test_build_with_upload_prints_the_image(self) -> None:
        status, text = self.run_command("tools/rescue-image build --upload")
        self.assertEqual(0, status)
        self.assertIn("image 1 (rescue) is active", text)
        path, image_format, name, client = self.upload.call_args.args
        self.assertEqual(ROOT / ".rescue-image" / "rescue.qcow2", path)
        self.assertEqual(("qcow2", "rescue", "openstack"), (image_format, name, client))

    def test_upload_of_what_is_not_built_is_refused(self) -> None:
        status, text = self.run_command("x build --only iso --upload")
        self.assertEqual(1, status)
        self.assertIn("--only iso builds no qcow2", text)
        self.build.assert_not_called()

    def test_upload_of_the_iso_builds_nothing(self) -> None:
        status, _ = self.run_command("x upload iso --name other --out /out")
        self.assertEqual(0, status)
        self.assertEqual(Path("/out/rescue.iso"), self.upload.call_args.args[0])
        self.build.assert_not_called()

    def test_check_boots_every_case_or_those_named(self) -> None:
        self.assertEqual(0, self.run_command("tools/rescue-image check")[0])
        self.assertEqual(list(self.script.CASES), self.check.call_args.args[1])
        self.check.return_value = 1
        status, _ = self.run_command("x check bios-usb")
        self.assertEqual(1, status)
        self.assertEqual(["bios-usb"], self.check.call_args.args[1])

    def test_unknown_case_is_refused(self) -> None:
        status, text = self.run_command("x check no-such")
        self.assertEqual(1, status)
        self.assertIn("unknown case: no-such", text)

    def test_error_is_printed_without_a_trace(self) -> None:
        self.build.side_effect = ImageError("root is required")
        status, text = self.run_command("x build")
        self.assertEqual(1, status)
        self.assertIn("rescue-image: root is required", text)

    def test_interrupt_is_reported(self) -> None:
        self.build.side_effect = KeyboardInterrupt
        status, text = self.run_command("x build")
        self.assertEqual(130, status)
        self.assertIn("interrupted", text)
