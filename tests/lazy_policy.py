# SPDX-License-Identifier: Apache-2.0
"""Nova's fake policy is loaded by the first check of it, instead of for each test.

Nova's test case writes a policy with hundreds of rules and loads it, before each test.
Few tests check a rule, and functional tests replace the policy by the real one.
"""

import functools
from pathlib import Path
from typing import Any

import fixtures
import nova.policy
from nova.tests import fixtures as nova_fixtures
from nova.tests.fixtures import policy
from nova.tests.unit import fake_policy
from oslo_serialization import jsonutils


def load_when_checked() -> None:
    """Have Nova's tests use a policy that is loaded when it is checked."""
    nova_fixtures.PolicyFixture = LazyPolicyFixture


class LazyPolicyFixture(policy.PolicyFixture):
    """Nova's fixture, except that nova.policy.authorize loads the policy."""

    def setUp(self) -> None:
        # Not what Nova's fixture does, because that would load the policy.
        fixtures.Fixture.setUp(self)
        self._prepare_policy()
        for name, value in (("policy_file", self.policy_file), ("policy_dirs", [])):
            policy.CONF.set_override(name, value, group="oslo_policy")
        self._load = functools.partial(
            nova.policy.init, suppress_deprecation_warnings=True
        )
        self.useFixture(fixtures.MonkeyPatch("nova.policy.init", self._load))
        nova.policy.reset()
        self.addCleanup(nova.policy.reset)

    def _prepare_policy(self) -> None:
        self.policy_dir = self.useFixture(fixtures.TempDir())
        self.policy_file = self.policy_dir.join("policy.yaml")
        Path(self.policy_file).write_text(_policy_text())

    def set_rules(self, rules: Any, overwrite: bool = True) -> None:
        """Replace the rules, or add to them, once the policy is loaded."""
        self._load()
        super().set_rules(rules, overwrite)


@functools.cache
def _policy_text() -> str:
    """Return what Nova's fixture writes to the policy file."""
    rules = jsonutils.loads(fake_policy.policy_data)
    policy.PolicyFixture().add_missing_default_rules(rules)
    return str(jsonutils.dumps(rules))
