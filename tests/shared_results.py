# SPDX-License-Identifier: Apache-2.0
"""Results that all tests of a process share, because each test would get the same.

Nova's fixtures give each test new databases, load the policy and build the API again.
A third of the tests' CPU time would go into compiling the same SQL and regular
expressions, connecting to databases, parsing the same rules and making the same
classes that validate the requests to the API.
"""

import functools
import logging
import re
from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import jsonschema
from oslo_db.sqlalchemy import engines
from oslo_policy import _parser
from oslo_policy import policy as oslo_policy
from sqlalchemy import pool
from sqlalchemy.sql.elements import ClauseElement

from tests import release

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
    _share_validators()
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
    """Keeps the connections to a database, as many as there are threads.

    The one that was used last is used next, because SQLite has pages of the database
    and prepared statements in memory for each connection.
    """

    def __init__(self, creator: Any, **options: Any) -> None:
        own = {"max_overflow": -1, "pre_ping": False, "use_lifo": True}
        super().__init__(creator, **options | own)


def _keep_connections() -> None:
    """Keep connections to SQLite files, which oslo.db opens for each transaction.

    After each transaction, oslo.db also sleeps to let another green thread of eventlet
    run. Native threads need no such pause.
    """
    engines.pool = SimpleNamespace(**vars(pool) | {"NullPool": _KeptConnections})
    if not release.has_native_threads():
        return
    create_engine = engines.create_engine

    @functools.wraps(create_engine)
    def create_engine_for_threads(*args: Any, **options: Any) -> Any:
        return create_engine(*args, **options | {"thread_checkin": False})

    engines.create_engine = create_engine_for_threads


def _share_rules() -> None:
    """Parse each policy file and each rule once; nothing changes a parsed rule."""
    parse_file = _remember("policy file", oslo_policy.parse_file_contents)
    oslo_policy.parse_file_contents = lambda data: dict(parse_file(data))
    _parser.parse_rule = _remember("policy rule", _parser.parse_rule)


def _share_validators() -> None:
    """Make each class of validators once; Nova makes one for each check of a schema."""
    extend = jsonschema.validators.extend
    classes: dict[Any, Any] = {}

    @functools.wraps(extend)
    def extend_once(validator: Any, validators: Any = (), **options: Any) -> Any:
        if options:
            return extend(validator, validators, **options)
        # Nova passes methods of a new object each time. They use nothing of it.
        key = (
            validator,
            *(
                (keyword, getattr(check, "__func__", check))
                for keyword, check in dict(validators).items()
            ),
        )
        (hits if key in classes else misses)["validator"] += 1
        if key not in classes:
            classes[key] = extend(validator, validators)
        return classes[key]

    jsonschema.validators.extend = extend_once


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
