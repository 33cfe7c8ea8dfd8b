# SPDX-License-Identifier: Apache-2.0
"""A compute host for the commands: nova.conf, files of instances, and libvirt.

libvirt's test driver needs no daemon. The driver keeps definitions with their
addresses, and invents the counters of the disks.
"""

import contextlib
import datetime
import io
import os
import re
from pathlib import Path
from unittest import mock

import fixtures
from lxml import etree
from nova import conf as nova_conf
from oslotest import base

from stable_rescue import plan
from stable_rescue.cmd import main
from stable_rescue.domain import complete
from stable_rescue.domain.document import Domain
from stable_rescue.domain.medium import Medium
from stable_rescue.storage.record import Record, State
from stable_rescue.storage.store import Store

CONF = nova_conf.CONF
ROOT = Path(__file__).parents[3]
IMAGE = "0b6f7a2e-9c41-4d5e-8a37-1f2c3d4e5f60"
CHECKSUM = "5f363e0e58a95f06cbe9bbc662c5dfb6"
RESCUED_AT = datetime.datetime(2026, 11, 28, 1, 2, 3)
MIB = 2**20


class HostTestCase(base.BaseTestCase):
    """A test on a host with ``domains`` and the files in ``instances``."""

    def setUp(self) -> None:
        super().setUp()
        self.folder = Path(self.useFixture(fixtures.TempDir()).path)
        self.instances = self.folder / "instances"
        self.instances.mkdir()
        self.domains: list[str] = []
        self.options = [f"instances_path = {self.instances}"]
        self.addCleanup(CONF.reset)

    def add_server(
        self, example: str = "q35-history", state: State | None = State.RESCUED
    ) -> Record:
        """Add the server of an example, in a rescue that has this state.

        :param state: None for a server that is not rescued
        :returns: the record of the rescue, which exists unless the state is None
        """
        original = complete.parse((ROOT / "examples" / f"{example}.xml").read_text())
        directory = self.instances / original.uuid
        directory.mkdir()
        path = directory / "disk.rescue"
        planned = plan.derive(
            original,
            plan.RescueRequest(bus="usb"),
            plan.RescueMedia(Medium.from_file(str(path))),
        )
        image = {"id": IMAGE, "checksum": CHECKSUM}
        record = Record.of(planned, image, was_running=True)
        if state is None:
            self.domains.append(record.original_xml)
            return record
        if state in (State.RESCUED, State.ENDING):
            record = record.at(State.RESCUED)
        with path.open("wb") as medium:
            medium.truncate(15 * MIB)
        self.save(record.at(state))
        in_rescue = state not in (State.PREPARING, State.PREPARED, State.ENDED)
        self.domains.append(record.rescue_xml if in_rescue else record.original_xml)
        return record

    def save(self, record: Record) -> Store:
        """Write a record and unrescue.xml; return their store."""
        store = Store(str(self.directory(record)))
        store.save(record)
        store.save_original(record.original_xml)
        return store

    def directory(self, record: Record) -> Path:
        """Return the directory of a record's server."""
        return self.instances / Domain.parse(record.original_xml).uuid

    def nova_conf(self) -> Path:
        """Write nova.conf and what libvirt knows; return the path of nova.conf."""
        node = self.folder / "node.xml"
        domains = (re.sub(r"<\?xml.*?\?>", "", each) for each in self.domains)
        node.write_text(f"<node>{''.join(domains)}</node>")
        etree.parse(node)
        path = self.folder / "nova.conf"
        uri = f"[libvirt]\nconnection_uri = test://{node}"
        path.write_text("\n".join(("[DEFAULT]", *self.options, uri, "")))
        return path

    def run_command(self, *words: str) -> tuple[int, str, str]:
        """Run a command on this host; return its status, stdout and stderr."""
        name, *rest = words
        command = [name, "--config-file", str(self.nova_conf()), *rest]
        written, errors = io.BytesIO(), io.StringIO()
        stdout = io.TextIOWrapper(written, encoding="utf-8")
        with mock.patch("sys.stdout", stdout), contextlib.redirect_stderr(errors):
            status = main.main(command)
        return status, written.getvalue().decode(), errors.getvalue()

    def output(self, *words: str, status: int = 0) -> str:
        """Return what a command prints that ends with this status."""
        ended, text, errors = self.run_command(*words)
        self.assertEqual((status, ""), (ended, errors))
        return text

    def assert_fails(self, status: int, *parts: str, words: tuple[str, ...]) -> None:
        """Assert that a command prints a reason, nothing else, and its status."""
        ended, text, errors = self.run_command(*words)
        self.assertEqual((status, ""), (ended, text), errors)
        for part in parts:
            self.assertIn(part, errors)
        self.assertNotIn("Traceback", errors)


def set_time(path: Path, time: datetime.datetime) -> None:
    """Set when a file was changed, in UTC."""
    seconds = time.replace(tzinfo=datetime.UTC).timestamp()
    os.utime(path, (seconds, seconds))
