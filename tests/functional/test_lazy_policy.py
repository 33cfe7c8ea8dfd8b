# SPDX-License-Identifier: Apache-2.0
"""Nova's fake policy is the same if it is loaded when it is checked."""

from nova import context, policy, test
from nova.tests.fixtures import policy as policy_fixture

RULE = "os_compute_api:servers:create"


def loaded_rules() -> dict[str, str]:
    """Return the text of each rule that is loaded."""
    return {name: str(rule) for name, rule in (policy.get_rules() or {}).items()}


class LazyPolicyTest(test.NoDBTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.user = context.RequestContext("user", "project", is_admin=False)

    def test_first_check_loads_the_rules_of_novas_fixture(self) -> None:
        self.assertEqual({}, loaded_rules())
        self.assertTrue(self.user.can(RULE))
        lazily = loaded_rules()
        self.useFixture(policy_fixture.PolicyFixture())
        self.assertEqual(loaded_rules(), lazily)
        self.assertLess(100, len(lazily))

    def test_rule_that_a_test_sets_before_a_check_is_in_force(self) -> None:
        self.policy.set_rules({RULE: "!"}, overwrite=False)
        self.assertFalse(self.user.can(RULE, fatal=False))
        self.assertLess(100, len(loaded_rules()))
