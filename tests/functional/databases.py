# SPDX-License-Identifier: Apache-2.0
"""Copies of SQLite databases in memory, and how to restore them."""

import sqlite3
from collections.abc import Iterable
from typing import Any


class SavedDatabases:
    """The content of some databases at one moment.

    :param engines: SQLAlchemy's engines for the databases
    """

    def __init__(self, engines: Iterable[Any]) -> None:
        self._saved = [
            # Other threads of the test may restore it.
            (engine, sqlite3.connect(":memory:", check_same_thread=False))
            for engine in engines
        ]
        for engine, saved in self._saved:
            _copy(engine, saved, restore=False)

    def restore(self) -> None:
        """Restore the content of all databases."""
        for engine, saved in self._saved:
            _copy(engine, saved, restore=True)

    def close(self) -> None:
        """Close the copies."""
        for _engine, saved in self._saved:
            saved.close()


def _copy(engine: Any, saved: sqlite3.Connection, restore: bool) -> None:
    connection = engine.raw_connection()
    try:
        live = connection.driver_connection
        source, target = (saved, live) if restore else (live, saved)
        source.backup(target, sleep=0.01)
    finally:
        connection.close()
