# SPDX-License-Identifier: Apache-2.0
"""A snapshot of Nova's databases, libvirt, Cinder, Neutron and the files of a test.

Nova's services take seconds to start, and a server takes seconds to boot. Restoring a
snapshot takes milliseconds, so each sequence of operations gets a new server.
"""

import copy
import shutil
from pathlib import Path
from typing import Any

from nova import context as nova_context
from nova.db.api import api as api_database
from nova.db.main import api as main_database
from nova.tests.fixtures import libvirt
from placement import db_api as placement_database

from tests.functional.databases import SavedDatabases


class Snapshot:
    """The state of everything outside of nova-compute at one moment."""

    def __init__(
        self, connection: Any, cinder: Any, neutron: Any, folders: list[Path]
    ) -> None:
        """Take the snapshot.

        :param connection: the connection to Nova's libvirt fixture
        :param cinder: Nova's Cinder fixture
        :param neutron: Nova's Neutron fixture
        :param folders: the folders whose files belong to the snapshot
        """
        self._connection = connection
        self._cinder = cinder
        self._neutron = neutron
        self._ports = copy.deepcopy((neutron._ports, neutron._port_bindings))
        self._attachments = copy.deepcopy(cinder.volume_to_attachment)
        self._domains = [_state_of(domain) for domain in connection._vms.values()]
        self._files = {
            path: path.read_bytes() if path.is_file() else None
            for folder in folders
            for path in sorted(folder.rglob("*"))
        }
        self._folders = folders
        self._databases = SavedDatabases(_engines())

    def restore(self) -> None:
        """Restore all of it."""
        self._databases.restore()
        self._cinder.volume_to_attachment.clear()
        self._cinder.volume_to_attachment.update(copy.deepcopy(self._attachments))
        ports = copy.deepcopy(self._ports)
        self._neutron._ports, self._neutron._port_bindings = ports
        self._restore_domains()
        for folder in self._folders:
            for path in folder.iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        for path, content in self._files.items():
            if content is None:
                path.mkdir()
            else:
                path.write_bytes(content)

    def close(self) -> None:
        """Close the copies of the databases."""
        self._databases.close()

    def _restore_domains(self) -> None:
        connection = self._connection
        connection._vms.clear()
        connection._running_vms.clear()
        connection._secrets.clear()
        for state in self._domains:
            domain = object.__new__(libvirt.Domain)
            vars(domain).update(copy.deepcopy(state), _connection=connection)
            connection._vms[domain.name()] = domain
            if domain.isActive():
                connection._mark_running(domain)


def _state_of(domain: Any) -> dict[str, Any]:
    attributes = {k: v for k, v in vars(domain).items() if k != "_connection"}
    return copy.deepcopy(attributes)


def _engines() -> list[Any]:
    context = nova_context.get_admin_context()
    return [
        main_database.get_context_manager(context).writer.get_engine(),
        api_database.context_manager.writer.get_engine(),
        placement_database.placement_context_manager.writer.get_engine(),
    ]
