# SPDX-License-Identifier: Apache-2.0
"""No step that changes something is without a name."""

import ast
from collections.abc import Iterator
from pathlib import Path

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
    "plug_vifs",
    "power_off",
    "power_on",
    "remove_volumes",
    "rename",
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
#: What is called of our own modules, or without an owner, has its own name.
OURS = ("", "definition", "nova_internals")
#: `x.replace(y)` moves a file, `dataclasses.replace` does not, and so on.
BY_OWNER = {("instance", "save"), ("beside()", "replace")}

#: Functions that do change something and need no name, with the reason.
EXEMPT = {
    "storage/files.py write": "it removes what a step of its own has failed to write",
    "storage/files.py _sync_folder": "it changes nothing; it waits for the disk",
    "virt/driver.py resume_state_on_host_boot": "Nova's, of what is no rescue",
    "virt/driver.py destroy": "Nova's, which a restart does again",
}


def owner_of(call: ast.Call) -> str:
    """Return what a method is called on, as far as it is a name or a call of one."""
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


def is_named(function: ast.FunctionDef) -> bool:
    return any(
        isinstance(decorator, ast.Call) and name_of(decorator) == "changes"
        for decorator in function.decorator_list
    )


def changes_of(function: ast.FunctionDef) -> set[str]:
    """Return what a function calls that changes something."""
    return {
        name_of(node)
        for node in ast.walk(function)
        if isinstance(node, ast.Call)
        and owner_of(node) not in OURS
        and (name_of(node) in CHANGING or (owner_of(node), name_of(node)) in BY_OWNER)
    }


def functions() -> Iterator[tuple[str, ast.FunctionDef]]:
    for name in SEARCHED:
        for path in sorted((PACKAGE / name).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.FunctionDef):
                    yield f"{path.relative_to(PACKAGE)} {node.name}", node


class StepsTest(base.BaseTestCase):
    def test_each_function_that_changes_something_is_named(self) -> None:
        found = {
            where: sorted(changes_of(function))
            for where, function in functions()
            if changes_of(function) and not is_named(function)
        }
        self.assertEqual(sorted(EXEMPT), sorted(found), found)

    def test_names_are_there_once_the_modules_are_imported(self) -> None:
        import stable_rescue.compute.manager
        import stable_rescue.virt.driver  # noqa: F401

        self.assertLessEqual(
            {"start a domain", "save the instance", "remove a file"},
            set(steps.names()),
        )

    def test_a_step_tells_before_and_after(self) -> None:
        told: list[str] = []
        self.addCleanup(setattr, steps, "observe", steps.observe)
        steps.observe = told.append
        step = steps.changes(self.id())(lambda: told.append("done"))
        step()
        self.assertEqual([f"before {self.id()}", "done", f"after {self.id()}"], told)

    def test_a_name_stands_for_one_function(self) -> None:
        steps.changes(self.id())(self.setUp)
        steps.changes(self.id())(self.setUp)  # a module that is read again
        self.assertRaises(ValueError, steps.changes(self.id()), self.tearDown)
