# SPDX-License-Identifier: Apache-2.0
"""The state that the cells of a row begin with: made once, restored for each cell."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from nova.db.main import api as main_db_api
from nova.tests.functional.libvirt import base as libvirt_base

from tests.functional.databases import SavedDatabases
from tests.functional.faults.servers import ServerOnLvm
from tests.functional.model import snapshot as model_snapshot


class Snapshot:
    """A server and its host: database, files, libvirt's domains, disks and volumes.

    nova-compute is not part of it: what the process remembers must not matter.
    """

    def __init__(self, test: ServerOnLvm) -> None:
        """Note the present state."""
        self._folder = test.folder(test.server)
        self._files = {
            path: (path.read_bytes(), path.stat().st_mode)
            for path in self._folder.iterdir()
        }
        self._libvirt = test.libvirt_connection()
        self._tables = [
            (table, dict(table))
            for table in (self._libvirt._vms, self._libvirt._running_vms)
        ]
        self._domains = [
            (domain, self._copy(vars(domain))) for domain in self._libvirt._vms.values()
        ]
        self._sets = [(each, set(each)) for each in (test.lvm, test.connected)]
        self._attachments = test.cinder.volume_to_attachment
        self._attached = copy.deepcopy(dict(self._attachments))
        manager = main_db_api.get_context_manager(test.context)
        self._database = SavedDatabases([manager.writer.get_engine()])
        test.addCleanup(self._database.close)

    def restore(self) -> None:
        """Restore the state that was noted."""
        for path in self._folder.iterdir():
            path.unlink()
        for path, (content, mode) in self._files.items():
            path.write_bytes(content)
            path.chmod(mode)
        for table, domains in self._tables:
            table.clear()
            table.update(domains)
        for domain, attributes in self._domains:
            vars(domain).clear()
            vars(domain).update(self._copy(attributes))
        for current, noted in self._sets:
            current.clear()
            current.update(noted)
        self._attachments.clear()
        self._attachments.update(copy.deepcopy(self._attached))
        self._database.restore()

    def _copy(self, attributes: dict[str, Any]) -> dict[str, Any]:
        """Copy a domain's attributes, except libvirt's connection."""
        return copy.deepcopy(attributes, {id(self._libvirt): self._libvirt})


class FromSnapshot:
    """Makes the cells of a row begin with the same state, without making it each time.

    The first cell, and what `places` does, begin with the requests to Nova's API.
    """

    snapshot: "Restorable | None" = None

    def begin(self) -> None:
        if self.snapshot is None:
            super().begin()
            self.snapshot = self.take_snapshot()
        else:
            self.snapshot.restore()

    def take_snapshot(self) -> "Restorable":
        """Return a snapshot of the present state."""
        return Snapshot(self)


class Restorable(Protocol):
    """A snapshot of any kind."""

    def restore(self) -> None:
        """Restore the state that was noted."""


class FromModelSnapshot(FromSnapshot):
    """Makes the cells begin with a snapshot of everything that the model restores."""

    #: Further folders whose files belong to the snapshot.
    folders: tuple[Path, ...] = ()

    def take_snapshot(self) -> Restorable:
        snapshot = model_snapshot.Snapshot(
            self.libvirt_connection(),
            self.cinder,
            self.neutron,
            [Path(libvirt_base.CONF.instances_path), *self.folders],
        )
        self.addCleanup(snapshot.close)
        return snapshot

    def strike_rows(self, *rows: Mapping[str, Any]) -> None:
        """Strike in several rows with one server, because setUp takes most of a row.

        :param rows: the attributes of each row
        """
        new_server = self.take_snapshot()
        lost = []
        for row in rows:
            new_server.restore()
            self.snapshot = None
            vars(self).update(row)
            try:
                self.strike_everywhere()
            except AssertionError as error:
                lost.append(f"{self.row()}: {error}")
        self.assertEqual([], lost)
