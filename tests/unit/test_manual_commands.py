# SPDX-License-Identifier: Apache-2.0
"""Something runs each command that the documents show, and its options exist."""

import argparse
import contextlib
import functools
import importlib.metadata
import io
import re
import shlex
import unittest
from collections.abc import Iterator
from typing import Any

from benchmarks import __main__ as benchmarks
from lab import __main__ as lab_main
from lab import manual
from lab.demo.scenes.manual import IN_GUEST, PREPARATION, STORY
from stable_rescue.cmd import main

_WHEEL = "stable_rescue-1.0.0-py3-none-any.whl"
_TYPED = "tests/functional/test_typed_commands.py"
#: What runs a command: a file with this text, by the command. The scene ``manual`` runs
#: its own. ``tools/lab``, benchmarks and ``tox`` are tests themselves.
RUN_BY = {
    "stable-rescue plan --domain-xml examples/q35-history.xml "
    "--property hw_rescue_bus=usb": ("tests/unit/cmd/test_examples.py", "test_readme"),
    "stable-rescue plan --domain-xml examples/pc-scsi.xml "
    "--property hw_rescue_bus=scsi": ("tests/unit/cmd/test_examples.py", "its_command"),
    **dict.fromkeys(
        (
            "stable-rescue list",
            "stable-rescue show instance-0000002a",
            "stable-rescue verify instance-0000002a",
            "stable-rescue report instance-0000002a",
            "stable-rescue recover --dry-run instance-0000002a",
            "stable-rescue clean",
            "stable-rescue plan instance-0000002a "
            "--image 0b6f7a2e-9c41-4d5e-8a37-1f2c3d4e5f60",
        ),
        ("tests/unit/cmd/test_screens.py", "test_screens_of_the_manual_are_real"),
    ),
    **dict.fromkeys(
        (
            "stable-rescue clean --dumps-older-than 90",
            "stable-rescue clean --dumps-older-than 90 --yes",
        ),
        (
            "tests/unit/cmd/test_clean_dumps.py",
            "test_old_dump_is_removed_if_age_and_yes_are_given",
        ),
    ),
    'eval "$(register-python-argcomplete stable-rescue)"': (
        "tests/unit/cmd/test_manual.py",
        "test_line_of_the_manual_registers_the_completion",
    ),
    **dict.fromkeys(
        (
            "python3 -m venv /tmp/try",
            "/tmp/try/bin/pip install .",
            "PATH=/tmp/try/bin:$PATH",
        ),
        (_TYPED, "test_quick_start_of_readme"),
    ),
    **dict.fromkeys(
        (
            f"pip install {_WHEEL}",
            f"pip install --break-system-packages --no-deps {_WHEEL}",
        ),
        (_TYPED, "test_wheel_is_installed"),
    ),
    **dict.fromkeys(
        (
            "python3 -m venv tempest",
            f"tempest/bin/pip install '{_WHEEL}[tempest]'",
            "tempest/bin/tempest init rescue-check",
            "cd rescue-check",
        ),
        (_TYPED, "test_tempest_is_set_up"),
    ),
    "tempest run --regex stable_rescue": ("lab/tempest/__init__.py", '"run"'),
    "glance-manage db_load_metadefs etc/stable_rescue/metadefs": (
        "lab/services/glance.py",
        "db_load_metadefs",
    ),
    "python3 -m lab.guest build --out images": ("tox.ini", "lab.guest build --out"),
    "python doc/source/contributor/diagrams.py": (
        "tests/unit/test_diagrams.py",
        "test_each_drawing_is_up_to_date",
    ),
    "tools/test": ("tests/unit/test_tools_test.py", "test_default_is_newest_nova"),
    **dict.fromkeys(
        ("tools/rescue-image build", "tools/rescue-image build --upload"),
        ("tests/unit/rescue_image/test_command_line.py", "tools/rescue-image build"),
    ),
    "tools/rescue-image check": (
        "tests/unit/rescue_image/test_command_line.py",
        "tools/rescue-image check",
    ),
    "tools/release": (
        "tests/functional/test_packaging.py",
        "test_release_has_the_files_and_the_version_of_the_clone",
    ),
    # Writes the page that a run of these tests has as its result.
    "PATH=.tox/integration/bin:$PATH python -m lab.sandbox --state .lab/integration "
    "--libvirtd -- python -m tests.integration.support --write": (
        "tests/integration/test_matrix.py",
        "class ",
    ),
}
_IN_SCENE = {*PREPARATION, *STORY, *IN_GUEST}
_THEMSELVES = re.compile(r"tools/(lab|bench)( |$)|tox |.*python -m benchmarks\.")


def shown() -> dict[str, str]:
    """Return the page of each command in a block."""
    return {
        command: page.name
        for page in manual.pages()
        for command in manual.commands(page.read_text())
    }


def mentioned() -> set[str]:
    """Return all commands, those in sentences and tables as well."""
    pages = [page.read_text() for page in manual.pages()]
    return {*shown(), *(c for page in pages for c in manual.inline_commands(page))}


class RunTest(unittest.TestCase):
    def test_something_runs_every_command_of_the_manual(self) -> None:
        run = {*RUN_BY, *_IN_SCENE}
        missing = {
            command: page
            for command, page in shown().items()
            if command not in run and not _THEMSELVES.match(command)
        }
        self.assertEqual({}, missing)

    def test_every_command_that_is_run_is_in_the_manual(self) -> None:
        self.assertEqual(set(), {*RUN_BY, *_IN_SCENE} - {*shown()})

    def test_what_runs_a_command_exists(self) -> None:
        for name, text in RUN_BY.values():
            self.assertIn(text, (manual.ROOT / name).read_text(), name)


class OptionsTest(unittest.TestCase):
    """The programs accept the commands; in a sentence, arguments may be missing."""

    def test_stable_rescue_has_each_command_and_option(self) -> None:
        for command in self.of_program("stable-rescue"):
            name, *words = shlex.split(command.partition("|")[0])[1:]
            if name.startswith("-"):
                self.assertIn(name, ("--version", "--help"))
            else:
                self.assert_options(_commands(main.parser())[name], words, command)

    def test_lab_and_benchmarks_accept_each_command(self) -> None:
        for program, module in (("tools/lab", lab_main), ("tools/bench", benchmarks)):
            for command in self.of_program(program):
                words = shlex.split(command.replace("NAME", "hotplug"))[1:]
                with contextlib.redirect_stderr(io.StringIO()) as errors:
                    try:
                        module.parser().parse_args(words)
                    except SystemExit:
                        self.fail(f"{command}: {errors.getvalue()}")

    def test_openstack_client_has_each_command_and_option(self) -> None:
        found = self.of_program("openstack")
        self.assertGreater(len(found), 15)
        for command in found:
            words = shlex.split(command.partition("|")[0])[1:]
            parser, rest = _client_parser(words)
            self.assert_options(parser, rest, command)

    def test_tox_has_each_environment(self) -> None:
        factors = set(re.split(r"[^a-z0-9]+", (manual.ROOT / "tox.ini").read_text()))
        for command in self.of_program("tox"):
            environment = shlex.split(command)[2]
            releases = re.sub(r"nova(\d+)", r"nova-\1", environment).split("-")
            self.assertLessEqual({*releases} - {"py312", "py313"}, factors, command)

    def test_every_module_that_python_runs_exists(self) -> None:
        for command in mentioned():
            for module in re.findall(r"python3? -m ([\w.]+)", command):
                path = manual.ROOT.joinpath(*module.split("."))
                files = (path.with_suffix(".py"), path / "__main__.py")
                exists = module == "venv" or any(file.exists() for file in files)
                self.assertTrue(exists, command)

    def of_program(self, program: str) -> list[str]:
        """Return the commands that run a program, also those in pipes and loops."""
        begin = re.compile(rf"(?:^|[|(] *){re.escape(program)} [^|)]+")
        found = (text.removeprefix("sudo -u nova ") for text in sorted(mentioned()))
        return [each.lstrip("|( ") for text in found for each in begin.findall(text)]

    def assert_options(
        self, parser: argparse.ArgumentParser, words: list[str], command: str
    ) -> None:
        """Assert that a parser has every option among the words."""
        known = parser._option_string_actions
        for word in words:
            if word.startswith("-") and word != "-":
                self.assertIn(word.partition("=")[0], known, command)


def _commands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    (action,) = (
        each for each in parser._actions if isinstance(each, argparse._SubParsersAction)
    )
    return dict(action.choices)


def _client_parser(words: list[str]) -> tuple[argparse.ArgumentParser, list[str]]:
    """Return the parser of an OpenStack client's command, and the words after it.

    :raises AssertionError: if there is no such command
    """
    for count in range(len(words), 0, -1):
        entry = _client_commands().get("_".join(words[:count]))
        if entry is not None:
            command = entry.load()(None, None)
            return command.get_parser("openstack"), words[count:]
    raise AssertionError(f"the OpenStack client has no command {' '.join(words)}")


@functools.cache
def _client_commands() -> dict[str, Any]:
    """Return the entry points of the client's commands, of the newest API."""
    return dict(sorted(_entry_points(), key=lambda pair: pair[1].group))


def _entry_points() -> Iterator[tuple[str, Any]]:
    for name in ("python-openstackclient", "osc-placement"):
        for entry in importlib.metadata.distribution(name).entry_points:
            if entry.group.startswith("openstack."):
                yield entry.name, entry
