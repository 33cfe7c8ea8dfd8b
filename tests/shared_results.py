# SPDX-License-Identifier: Apache-2.0
"""Results that all tests of a process share, because each test would get the same.

Nova's fixtures give each test new databases, load the policy and build the API again.
A third of the tests' CPU time would go into compiling the same SQL and regular
expressions, connecting to databases and parsing the same rules.
"""

import functools
import logging
import re
from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from oslo_db.sqlalchemy import engines
from oslo_policy import _parser
from oslo_policy import policy as oslo_policy
from sqlalchemy import pool
from sqlalchemy.sql.elements import ClauseElement

# The pool of connections logs each use of a connection.
logging.getLogger(__name__).setLevel(logging.WARNING)

#: How often a result was in the cache, and how often it was not, by kind.
hits: Counter[str] = Counter()
misses: Counter[str] = Counter()


def share() -> None:
    """Share compiled statements, connections, rules and expressions from now on."""
    _share_statements()
    _keep_connections()
    _share_rules()
    # The routes of Nova's API alone have more expressions than Python caches.
    re._MAXCACHE = 100_000


class _Statements:
    """A cache of compiled statements for all engines that use the same dialect.

    SQLAlchemy's own caches are as short-lived as the engines. The first part of a key
    is the dialect, of which each engine has its own object.
    """

    def __init__(self) -> None:
        self._compiled: dict[Any, Any] = {}

    def get(self, key: tuple[Any, ...]) -> Any:
        compiled = self._compiled.get(self._shared(key))
        (misses if compiled is None else hits)["statement"] += 1
        return compiled

    def __setitem__(self, key: tuple[Any, ...], compiled: Any) -> None:
        self._compiled[self._shared(key)] = compiled

    def _shared(self, key: tuple[Any, ...]) -> tuple[Any, ...]:
        dialect, *others = key
        return type(dialect), *others


def _share_statements() -> None:
    statements = _Statements()
    compile_with_cache = ClauseElement._compile_w_cache

    @functools.wraps(compile_with_cache)
    def compile_shared(
        element: ClauseElement, dialect: Any, *, compiled_cache: Any, **options: Any
    ) -> Any:
        # None stands for a statement that must not be cached.
        if compiled_cache is not None:
            compiled_cache = statements
        return compile_with_cache(
            element, dialect, compiled_cache=compiled_cache, **options
        )

    ClauseElement._compile_w_cache = compile_shared


class _KeptConnections(pool.QueuePool):
    """Keeps the connections to a database, as many as there are threads."""

    def __init__(self, creator: Any, **options: Any) -> None:
        super().__init__(creator, **options | {"max_overflow": -1, "pre_ping": False})


def _keep_connections() -> None:
    """Keep connections to SQLite files, which oslo.db opens for each transaction."""
    engines.pool = SimpleNamespace(**vars(pool) | {"NullPool": _KeptConnections})


def _share_rules() -> None:
    """Parse each policy file and each rule once; nothing changes a parsed rule."""
    parse_file = _remember("policy file", oslo_policy.parse_file_contents)
    oslo_policy.parse_file_contents = lambda data: dict(parse_file(data))
    _parser.parse_rule = _remember("policy rule", _parser.parse_rule)


def _remember(kind: str, function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    results: dict[Any, Any] = {}

    @functools.wraps(function)
    def remembering(text: Any) -> Any:
        if not isinstance(text, str | bytes):
            return function(text)
        counter = hits if text in results else misses
        counter[kind] += 1
        if text not in results:
            results[text] = function(text)
        return results[text]

    return remembering
