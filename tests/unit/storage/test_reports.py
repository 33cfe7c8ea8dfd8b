# SPDX-License-Identifier: Apache-2.0
"""The files of reports."""

import os
import time
from pathlib import Path
from unittest import mock

import fixtures
from nova import conf as nova_conf
from oslo_config import fixture as config_fixture
from oslo_utils.fixture import uuidsentinel as uuids
from oslotest import base

from stable_rescue import conf
from stable_rescue.storage import reports

CONF = nova_conf.CONF
DAY = 24 * 60 * 60


class ReportsTest(base.BaseTestCase):
    def setUp(self) -> None:
        super().setUp()
        conf.register_opts(CONF)
        self.options = self.useFixture(config_fixture.Config(CONF))
        self.state_path = self.useFixture(fixtures.TempDir()).path
        self.options.config(state_path=self.state_path, host="compute1")

    def path(self) -> Path:
        (path,) = reports.paths_of(uuids.server)
        return path

    def test_report_is_private(self) -> None:
        reports.begin(uuids.server, {"kind": "x"})
        self.assertEqual(0o600, self.path().stat().st_mode & 0o777)
        self.assertEqual(0o700, self.path().parent.stat().st_mode & 0o777)
        self.assertEqual("x", reports.read(self.path())["kind"])

    def test_what_happens_is_added_to_the_newest_report(self) -> None:
        reports.begin(uuids.server, {"kind": "first"})
        reports.begin(uuids.server, {"kind": "second"})
        reports.begin(uuids.other, {"kind": "other"})
        reports.add(uuids.server, "started", definition_sha256="d")
        first, second = map(reports.read, reports.paths_of(uuids.server))
        self.assertEqual([], first["log"])
        (entry,) = second["log"]
        self.assertEqual(("started", "d"), (entry["what"], entry["definition_sha256"]))

    def test_nothing_is_added_without_a_report(self) -> None:
        reports.add(uuids.server, "started")
        self.assertEqual([], reports.paths_of(uuids.server))

    def test_state_path_among_the_code_gets_no_report(self) -> None:
        self.options.config(state_path=CONF.pybasedir)
        reports.begin(uuids.server, {})
        self.assertEqual([], reports.paths_of(uuids.server))

    def test_damaged_file_and_unknown_format_are_errors(self) -> None:
        reports.begin(uuids.server, {})
        for text in ("{", "[]", '{"format": 99}'):
            self.path().write_text(text)
            self.assertRaises(ValueError, reports.read, self.path())

    def test_reports_that_are_too_old_are_removed(self) -> None:
        for server, days in ((uuids.old, 91), (uuids.new, 89)):
            reports.begin(server, {})
            (path,) = reports.paths_of(server)
            then = time.time() - days * DAY
            os.utime(path, (then, then))
        self.options.config(report_keep_days=0, group="stable_rescue")
        self.assertEqual(0, reports.remove_old())
        self.options.config(report_keep_days=90, group="stable_rescue")
        self.assertEqual(1, reports.remove_old())
        self.assertEqual([], reports.paths_of(uuids.old))
        self.assertEqual(1, len(reports.paths_of(uuids.new)))

    def test_incomplete_report_that_is_too_old_is_removed(self) -> None:
        reports.begin(uuids.server, {})
        with mock.patch.object(os, "fsync", side_effect=KeyboardInterrupt):
            self.assertRaises(KeyboardInterrupt, reports.add, uuids.server, "started")
        then = time.time() - 91 * DAY
        for path in reports.folder().iterdir():
            os.utime(path, (then, then))
        self.options.config(report_keep_days=90, group="stable_rescue")
        self.assertEqual(2, reports.remove_old())
        self.assertEqual([], list(reports.folder().iterdir()))
