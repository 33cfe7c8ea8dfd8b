# SPDX-License-Identifier: Apache-2.0
"""HOOKS lists each private method of Nova that is overridden, and no other."""

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import ddt
from nova.compute import manager as nova_manager
from nova.virt.libvirt import driver as libvirt_driver
from oslotest import base

from stable_rescue.compute import manager
from stable_rescue.nova_internals import HOOKS, Hook
from stable_rescue.virt import driver
from tests.release import RELEASE

#: The classes of Nova, and what stable rescue makes of them.
CLASSES: dict[type, type] = {
    nova_manager.ComputeManager: manager.ComputeManager,
    libvirt_driver.LibvirtDriver: driver.StableRescueDriver,
}
BY_NAME = {nova_class.__name__: nova_class for nova_class in CLASSES}


def overrides() -> Iterator[tuple[str, str, str]]:
    """Yield Nova's class, the private method and the class that overrides it."""
    for nova_class, subclass in CLASSES.items():
        for each in subclass.__mro__:
            if each.__module__.partition(".")[0] != "stable_rescue":
                continue
            for name, value in vars(each).items():
                if (
                    inspect.isfunction(value)
                    and name.startswith("_")
                    and not name.startswith("__")
                    and hasattr(nova_class, name)
                ):
                    yield nova_class.__name__, name, each.__name__


def parameters(method: Callable[..., Any]) -> list[tuple[str, Any, Any]]:
    """Return the name, kind and default of each parameter."""
    return [
        (parameter.name, parameter.kind, parameter.default)
        for parameter in inspect.signature(method).parameters.values()
    ]


@ddt.ddt
class HooksTest(base.BaseTestCase):
    def test_each_override_is_listed(self) -> None:
        listed = [(hook.owner, hook.name, hook.overridden_by) for hook in HOOKS]
        self.assertEqual(sorted(overrides()), sorted(listed))

    @ddt.data(*HOOKS)
    def test_hook_exists_in_nova_with_same_signature(self, hook: Hook) -> None:
        nova_class = BY_NAME[hook.owner]
        self.assertEqual(
            parameters(getattr(nova_class, hook.name)),
            parameters(getattr(CLASSES[nova_class], hook.name)),
        )

    @ddt.data(*HOOKS)
    def test_hook_was_checked_for_installed_release(self, hook: Hook) -> None:
        self.assertIn(RELEASE, hook.releases)
