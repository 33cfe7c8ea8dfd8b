# SPDX-License-Identifier: Apache-2.0
"""Tests share results that do not depend on the test."""

import sqlalchemy
from oslo_db.sqlalchemy import engines
from oslo_policy import policy
from oslotest import base

from tests import shared_results


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
