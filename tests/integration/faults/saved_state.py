# SPDX-License-Identifier: Apache-2.0
"""Saves the state of a server, so that it need not be reached a second time."""

import shutil
from pathlib import Path

from tests.integration.base import Server


class SavedState:
    """The definition and the files of a running server, and Nova's database.

    No nova-compute may run while the state is saved or restored.

    :param folder: a new folder for the copies
    """

    def __init__(self, server: Server, database: Path, folder: Path) -> None:
        self._server = server
        self._definition = server.definition()
        files = {database, *server.scene.folder.iterdir()} - {server.scene.console}
        self._copies = {path: folder / path.name for path in files}
        for path, copy in self._copies.items():
            shutil.copy2(path, copy)

    def restore(self) -> None:
        """Restore the state of the server, and start its guest.

        Files that the server got since then must have been removed.

        :raises libvirt.libvirtError: libvirt does not start the guest
        """
        self._server.stop()
        for path, copy in self._copies.items():
            shutil.copy2(copy, path)
        self._server.define(self._definition)
        self._server.start()
