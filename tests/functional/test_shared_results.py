# SPDX-License-Identifier: Apache-2.0
"""Tests share results that do not depend on the test."""

from unittest import mock

import sqlalchemy
from nova import exception
from nova.api.validation import validators
from oslo_db.sqlalchemy import engines
from oslo_policy import policy
from oslotest import base

from tests import release, shared_results


class SharedResultsTest(base.BaseTestCase):
    def misses(self, kind: str) -> int:
        return shared_results.misses[kind]

    def test_second_engine_uses_the_compiled_statement(self) -> None:
        row = sqlalchemy.table("numbers", sqlalchemy.column("one"))
        for number in (1, 2):
            engine = sqlalchemy.create_engine("sqlite://")
            with engine.begin() as connection:
                connection.execute(sqlalchemy.text("CREATE TABLE numbers (one)"))
                before = self.misses("statement")
                connection.execute(row.insert().values(one=number))
                answer = connection.execute(sqlalchemy.select(row)).scalars()
                # Values are not part of a compiled statement.
                self.assertEqual([number], list(answer))
                self.assertEqual(
                    2 if number == 1 else 0, self.misses("statement") - before
                )

    def test_connection_to_a_file_is_used_again(self) -> None:
        folder = self.create_tempfiles([("database", "")], ext="")[0]
        engine = engines.create_engine(f"sqlite:///{folder}")
        self.addCleanup(engine.dispose)
        used = []
        for _ in range(2):
            with engine.connect() as connection:
                used.append(connection.connection.driver_connection)
        self.assertIs(*used)

    def test_connection_that_was_used_last_is_used_next(self) -> None:
        folder = self.create_tempfiles([("database", "")], ext="")[0]
        engine = engines.create_engine(f"sqlite:///{folder}")
        self.addCleanup(engine.dispose)
        first, second = engine.connect(), engine.connect()
        last = second.connection.driver_connection
        first.close()
        second.close()
        with engine.connect() as third:
            self.assertIs(last, third.connection.driver_connection)

    def test_transaction_with_native_threads_does_not_sleep(self) -> None:
        engine = engines.create_engine("sqlite://")
        self.addCleanup(engine.dispose)
        with mock.patch.object(engines.time, "sleep") as sleep:
            engine.connect().close()
        self.assertEqual(0 if release.has_native_threads() else 1, sleep.call_count)

    def test_same_schema_is_validated_by_one_class(self) -> None:
        schema = {"type": "object", "properties": {"n": {"minimum": 2}}}
        first, second, relaxed = (
            validators._SchemaValidator(schema, relax_additional_properties=relax)
            for relax in (False, False, True)
        )
        self.assertIs(type(first.validator), type(second.validator))
        self.assertIsNot(type(first.validator), type(relaxed.validator))
        for each in (first, second, relaxed):
            each.validate({"n": "2"})
            self.assertRaises(exception.ValidationError, each.validate, {"n": "1"})

    def test_same_policy_is_parsed_once(self) -> None:
        text = '{"shared results": "role:reader and user_id:%(id)s"}'
        first = policy.Rules.load(text)
        before = self.misses("policy file"), self.misses("policy rule")
        first.clear()
        second = policy.Rules.load(text)
        self.assertEqual(["shared results"], list(second))
        self.assertEqual(
            before, (self.misses("policy file"), self.misses("policy rule"))
        )
