# SPDX-License-Identifier: Apache-2.0
"""All code that changes something outside the process is a named step."""

import ast
import contextlib
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from oslotest import base

import stable_rescue
from stable_rescue import steps

PACKAGE = Path(stable_rescue.__file__).parent
SEARCHED = ("nova_internals", "compute", "storage", "virt")

#: Calls that change a file, libvirt, the host's volumes or Nova's database.
CHANGING = {
    "_connect_volume",
    "_create_and_inject_local_root",
    "_create_configdrive",
    "_create_guest",
    "_disconnect_volume",
    "_hard_reboot",
    "cache",
    "chmod",
    "cleanup_volumes",
    "connect_volume",
    "copyfile",
    "coreDumpWithFormat",
    "create_image",
    "createWithFlags",
    "defineXML",
    "defineXMLFlags",
    "destroy",
    "disconnect_volume",
    "execute",
    "fetch_to_raw",
    "makedirs",
    "mkdir",
    "mkstemp",
    "mount_share",
    "open",
    "pause",
    "plug_vifs",
    "power_off",
    "power_on",
    "remove_volumes",
    "rename",
    "resume",
    "resume_state_on_host_boot",
    "rmtree",
    "touch",
    "umount_share",
    "undefine",
    "undefineFlags",
    "unlink",
    "unplug_vifs",
    "write_bytes",
    "write_instance_config",
    "write_text",
}
#: Calls of functions of this package, which contain steps of their own.
INSIDE_PACKAGE = ("", "guest", "nova_internals")
#: Names that change something only on certain owners (not dataclasses.replace).
BY_OWNER = {("instance", "save"), ("temporary_path()", "replace")}

#: Functions that change something outside of steps, with the reason.
EXEMPT = {
    "storage/files.py write": "removes only what a failed step has left",
    "storage/files.py write_aside": "a rescue does not depend on such a file",
    "storage/files.py _write_and_flush": "a step calls it, or write_aside",
    "storage/files.py _sync": "opens a file or a folder to flush it, changes nothing",
    "storage/leftovers.py _images": "lists the images of a pool, removes none",
    "storage/leftovers.py remove": "a command of an operator, who repeats it",
    "storage/reports.py begin": "a rescue does not depend on its report",
    "storage/reports.py remove_old": "a rescue does not depend on its report",
    "storage/requests.py _make": "a request that is lost can be repeated",
    "storage/requests.py _is_waited_for": "a request that is lost can be repeated",
    "storage/requests.py _opened_folder": "a request that is lost can be repeated",
    "storage/requests.py _opened": "a request that is lost can be repeated",
    "storage/requests.py _remove": "a request that is lost can be repeated",
    "storage/requests.py _rename": "a request that is lost can be repeated",
    "storage/requests.py _make_folder": "a request that is lost can be repeated",
    "storage/requests.py withdraw": "a request that is lost can be repeated",
    "virt/lifecycle.py resume_state_on_host_boot": "calls Nova for unrescued instances",
    "virt/lifecycle.py _hard_reboot": "calls Nova, which a user repeats",
    "virt/lifecycle.py destroy": "calls Nova, which repeats it after a restart",
}


def owner_of(call: ast.Call) -> str:
    """Return the name, or the call, that a method is called on; else ''."""
    if not isinstance(call.func, ast.Attribute):
        return ""
    value = call.func.value
    if isinstance(value, ast.Call):
        return f"{name_of(value)}()"
    return value.id if isinstance(value, ast.Name) else ""


def name_of(call: ast.Call) -> str:
    function = call.func
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def step_objects(module: ast.Module) -> set[str]:
    """Return the names of a module's step objects: ``_X = steps.changes("x")``."""
    return {
        target.id
        for node in module.body
        if isinstance(node, ast.Assign) and is_step(node.value)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def is_step(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and name_of(node) == "changes"


def is_change(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Call)
        and owner_of(node) not in INSIDE_PACKAGE
        and (name_of(node) in CHANGING or (owner_of(node), name_of(node)) in BY_OWNER)
    )


def changes_outside_steps(node: ast.AST, objects: set[str]) -> set[str]:
    """Return the calls that change something and that no step contains.

    :param objects: the names of the module's step objects
    """
    if isinstance(node, ast.FunctionDef) and any(map(is_step, node.decorator_list)):
        return set()
    if isinstance(node, ast.With) and any(
        isinstance(item.context_expr, ast.Name) and item.context_expr.id in objects
        for item in node.items
    ):
        return set()
    changes = set()
    if isinstance(node, ast.Call) and is_change(node):
        changes.add(name_of(node))
    for child in ast.iter_child_nodes(node):
        changes |= changes_outside_steps(child, objects)
    return changes


def modules() -> Iterator[tuple[str, ast.Module]]:
    for name in SEARCHED:
        for path in sorted((PACKAGE / name).rglob("*.py")):
            yield str(path.relative_to(PACKAGE)), ast.parse(path.read_text())


def functions() -> Iterator[tuple[str, ast.FunctionDef, set[str]]]:
    """Yield each function with its place and the step objects of its module."""
    for name, module in modules():
        for node in ast.walk(module):
            if isinstance(node, ast.FunctionDef):
                yield f"{name} {node.name}", node, step_objects(module)


class StepsTest(base.BaseTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.points: list[str] = []
        self.addCleanup(setattr, steps, "observe", steps.observe)
        steps.observe = self.points.append
        self.addCleanup(steps._names.discard, "x")

    def test_each_change_is_inside_a_step(self) -> None:
        outside = {
            where: sorted(changes_outside_steps(function, objects))
            for where, function, objects in functions()
            if changes_outside_steps(function, objects)
        }
        self.assertEqual(sorted(EXEMPT), sorted(outside), outside)

    def test_each_name_is_used_by_one_step(self) -> None:
        names = [
            node.args[0].value
            for _, module in modules()
            for node in ast.walk(module)
            if isinstance(node, ast.Call)
            and owner_of(node) == "steps"
            and isinstance(node.args[0], ast.Constant)
        ]
        self.assertEqual(sorted(set(names)), sorted(names))

    def test_names_are_known_after_import(self) -> None:
        import stable_rescue.compute.manager
        import stable_rescue.virt.driver  # noqa: F401

        self.assertLessEqual(
            {"start a domain", "save the instance", "remove a file"},
            set(steps.names()),
        )

    def test_decorated_function_observes_before_and_after(self) -> None:
        step = steps.changes("x")(lambda: self.points.append("work"))
        step()
        self.assertEqual(["before x", "work", "after x"], self.points)

    def test_with_statement_observes_before_and_after(self) -> None:
        with steps.changes("x"):
            self.points.append("work")
        self.assertEqual(["before x", "work", "after x"], self.points)

    def test_failed_step_observes_no_after(self) -> None:
        step = steps.changes("x")
        with contextlib.suppress(ZeroDivisionError), step:
            raise ZeroDivisionError
        self.assertEqual(["before x"], self.points)

    def test_error_before_a_step_skips_it(self) -> None:
        steps.observe = mock.Mock(side_effect=ZeroDivisionError)
        work = mock.Mock(__name__="work")
        self.assertRaises(ZeroDivisionError, steps.changes("x")(work))
        work.assert_not_called()

    def test_point_observes_its_name(self) -> None:
        steps.point("x")()
        self.assertEqual(["x"], self.points)

    def test_decorated_function_keeps_name_and_result(self) -> None:
        @steps.changes("x")
        def double(number: int) -> int:
            return number * 2

        self.assertEqual(("double", 6), (double.__name__, double(number=3)))
