# SPDX-License-Identifier: Apache-2.0
"""stable-rescue-status upgrade check, with real files and a real libvirt client."""

import contextlib
import io
import json
import os
import subprocess
import sys
import uuid
from pathlib import Path
from unittest import mock

import fixtures
import nova
from nova import conf as nova_conf
from oslo_config import cfg
from oslo_config import fixture as config_fixture
from oslo_upgradecheck.upgradecheck import Code, Result
from oslotest import base

from stable_rescue import nova_internals
from stable_rescue.cmd import checks, status
from stable_rescue.plan import RescuePlan
from stable_rescue.storage.record import Record
from stable_rescue.storage.store import Store
from tests.unit.domain import samples

ROOT = Path(__file__).parents[3]
# libvirt's test driver needs no daemon, and says that its hypervisor has version 2.
TEST_DRIVER = "test:///default"
RECORD = Record.of(
    RescuePlan("disk", "usb", samples.parsed("pc"), samples.parsed("q35"), ()),
    {"id": "i"},
    was_running=True,
)


class CheckTestCase(base.BaseTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.folder = Path(self.useFixture(fixtures.TempDir()).path)
        self.config = self.useFixture(config_fixture.Config(nova_conf.CONF))
        self.config.config(instances_path=str(self.folder))

    def check(self, title: str) -> Result:
        """Run the check of this title."""
        return dict(checks.Checks._upgrade_checks)[title](checks.Checks())

    def assert_result(self, code: Code, *parts: str, title: str) -> None:
        """Check the code of a check, and parts of its text."""
        result = self.check(title)
        self.assertEqual(code, result.code, result.details)
        for part in parts:
            self.assertIn(part, result.details)

    def instance(self) -> Path:
        """Create the directory of an instance."""
        path = self.folder / str(uuid.uuid4())
        path.mkdir()
        return path


class HostTest(CheckTestCase):
    def test_other_driver_is_a_warning_that_names_the_option(self) -> None:
        self.config.config(compute_driver="libvirt.LibvirtDriver")
        self.assert_result(
            Code.WARNING,
            "compute_driver is libvirt.LibvirtDriver",
            "compute_driver = stable_rescue.StableRescueDriver",
            title="Driver and compute manager",
        )

    def test_file_that_sets_another_driver_is_named(self) -> None:
        self.config.config(compute_driver="libvirt.LibvirtDriver")
        path = "/etc/nova/nova-compute.conf"
        set_in_file = cfg.LocationInfo(cfg.Locations.user, path)
        with mock.patch.object(
            type(checks.CONF), "get_location", return_value=set_in_file
        ):
            self.assert_result(
                Code.WARNING, f"in {path}.", title="Driver and compute manager"
            )

    def test_release_of_nova_that_was_not_tested_is_a_warning(self) -> None:
        title = "Release of Nova"
        self.assert_result(Code.SUCCESS, title=title)
        with mock.patch.object(
            nova_internals.hosts.version, "version_string", return_value="35.0.0"
        ):
            self.assert_result(Code.WARNING, "not with Nova 35.0.0", title=title)

    def test_version_of_hypervisor_that_was_not_tested_is_a_warning(self) -> None:
        self.config.config(connection_uri=TEST_DRIVER, group="libvirt")
        title = "Versions of libvirt and QEMU"
        self.assert_result(Code.WARNING, "not with QEMU 0.0.2", title=title)

    def test_tested_versions_are_a_success(self) -> None:
        self.config.config(connection_uri=TEST_DRIVER, group="libvirt")
        title = "Versions of libvirt and QEMU"
        with mock.patch("libvirt.virConnect.getVersion", return_value=7_002_000):
            self.assert_result(Code.SUCCESS, title=title)

    def test_unreachable_libvirt_is_a_warning_with_the_reason(self) -> None:
        socket = self.folder / "no-socket"
        uri = f"qemu+unix:///system?socket={socket}"
        self.config.config(connection_uri=uri, group="libvirt")
        title = "Versions of libvirt and QEMU"
        self.assert_result(Code.WARNING, str(socket), "libvirt runs", title=title)

    def test_virt_type_without_stable_rescue_is_a_failure(self) -> None:
        title = "Virtualization type"
        for virt_type in ("kvm", "qemu"):
            self.config.config(virt_type=virt_type, group="libvirt")
            self.assert_result(Code.SUCCESS, title=title)
        self.config.config(virt_type="lxc", group="libvirt")
        self.assert_result(Code.FAILURE, "virt_type is lxc", title=title)


class PackagesTest(CheckTestCase):
    title = "Packages of Nova"

    def place_nova(self, name: str) -> Path:
        """Use a package of Nova in a site directory of this name."""
        package = self.folder / name / "nova"
        (package / "virt").mkdir(parents=True)
        file = str(package / "__init__.py")
        self.useFixture(fixtures.MockPatchObject(nova, "__file__", file))
        self.useFixture(fixtures.MockPatchObject(sys, "path", [str(package.parent)]))
        return package

    def test_one_package_is_a_success(self) -> None:
        self.place_nova("site-packages")
        self.assert_result(Code.SUCCESS, title=self.title)

    def test_file_that_hides_the_driver_is_a_failure(self) -> None:
        stray = self.place_nova("site-packages") / "virt" / "stable_rescue.py"
        stray.touch()
        self.assert_result(Code.FAILURE, str(stray), "remove it", title=self.title)

    def test_second_package_of_nova_is_a_warning(self) -> None:
        self.place_nova("site-packages")
        other = self.folder / "dist-packages"
        sys.path.append(str(other))
        (other / "nova").mkdir(parents=True)
        self.assert_result(Code.WARNING, str(other / "nova"), title=self.title)


class InstancesPathTest(CheckTestCase):
    title = "Permissions of instances_path"

    def test_directory_of_its_owner_is_a_success(self) -> None:
        self.folder.chmod(0o755)
        self.assert_result(Code.SUCCESS, title=self.title)

    def test_missing_directory_is_a_failure(self) -> None:
        self.config.config(instances_path=str(self.folder / "gone"))
        self.assert_result(Code.FAILURE, "is not a directory", title=self.title)

    def test_directory_that_everybody_may_write_is_a_failure(self) -> None:
        self.folder.chmod(0o777)
        self.assert_result(Code.FAILURE, "chmod o-w", title=self.title)

    def test_directory_of_another_user_is_a_warning(self) -> None:
        with mock.patch("os.access", return_value=False):
            named = f"user with id {os.geteuid()} cannot write"
            self.assert_result(Code.WARNING, named, title=self.title)


class StatePathTest(CheckTestCase):
    title = "Owner of state_path"

    def test_directory_of_the_same_user_is_a_success(self) -> None:
        self.config.config(state_path=str(self.folder))
        self.assert_result(Code.SUCCESS, title=self.title)

    def test_directory_of_another_user_is_a_warning(self) -> None:
        self.config.config(state_path=str(self.folder))
        with mock.patch("os.geteuid", return_value=os.geteuid() + 1):
            self.assert_result(Code.WARNING, "does not belong", title=self.title)

    def test_missing_directory_is_a_warning(self) -> None:
        self.config.config(state_path=str(self.folder / "gone"))
        self.assert_result(Code.WARNING, "Set [DEFAULT] state_path", title=self.title)

    def test_default_of_nova_is_a_warning(self) -> None:
        self.config.config(state_path=nova_conf.CONF.pybasedir)
        self.assert_result(Code.WARNING, "Set [DEFAULT] state_path", title=self.title)


class MemoryDumpPathTest(CheckTestCase):
    title = "Folder of memory dumps"

    def setUp(self) -> None:
        super().setUp()
        self.set_path(self.folder)

    def set_path(self, path: Path | None) -> None:
        value = None if path is None else str(path)
        self.config.config(memory_dump_path=value, group="stable_rescue")

    def test_folder_that_is_not_set_is_a_success(self) -> None:
        self.set_path(None)
        self.assert_result(Code.SUCCESS, title=self.title)

    def test_private_folder_without_dumps_is_a_success(self) -> None:
        self.assert_result(Code.SUCCESS, title=self.title)
        self.assertIsNone(self.check(self.title).details)

    def test_dumps_are_counted_because_nothing_removes_them(self) -> None:
        for suffix in ("", "-2"):
            name = f"{uuid.uuid4()}-20260101T000000Z{suffix}.dump"
            with (self.folder / name).open("wb") as file:
                file.truncate(1536 * 2**20)
        self.assert_result(
            Code.SUCCESS,
            f"{self.folder} has 2 memory dumps of 3.0 GiB",
            "stable-rescue clean",
            title=self.title,
        )

    def test_missing_folder_is_a_failure(self) -> None:
        self.set_path(self.folder / "gone")
        self.assert_result(Code.FAILURE, "is no directory", title=self.title)

    def test_folder_that_others_can_write_is_a_failure(self) -> None:
        for mode in (0o770, 0o702):
            self.folder.chmod(mode)
            self.assert_result(Code.FAILURE, "chmod go-w", title=self.title)

    def test_folder_of_another_user_is_a_warning(self) -> None:
        with mock.patch("os.geteuid", return_value=os.geteuid() + 1):
            self.assert_result(Code.WARNING, "does not belong", title=self.title)

    def test_folder_that_cannot_be_read_is_a_warning(self) -> None:
        error = PermissionError(13, "Permission denied", str(self.folder))
        with mock.patch.object(Path, "iterdir", side_effect=error):
            self.assert_result(Code.WARNING, "Run the check as root", title=self.title)


class RescuesTest(CheckTestCase):
    stock = "Servers rescued by Nova's driver"
    records = "Rescue records"

    def test_host_without_rescues_is_a_success(self) -> None:
        self.instance()
        (self.folder / "_base").mkdir()
        for title in (self.stock, self.records):
            self.assert_result(Code.SUCCESS, title=title)

    def test_stable_rescue_is_a_success(self) -> None:
        instance = self.instance()
        Store(str(instance)).save(RECORD)
        Store(str(instance)).save_original(RECORD.original_xml)
        for title in (self.stock, self.records):
            self.assert_result(Code.SUCCESS, title=title)

    def test_rescue_by_novas_driver_is_a_warning_with_its_server(self) -> None:
        instances = [self.instance() for _ in range(7)]
        for instance in instances:
            (instance / "unrescue.xml").write_text(RECORD.original_xml)
        first = min(each.name for each in instances)
        self.assert_result(Code.WARNING, first, "and 2 more", title=self.stock)
        self.assert_result(Code.SUCCESS, title=self.records)

    def test_record_of_a_newer_version_is_a_failure(self) -> None:
        instance = self.instance()
        content = {**json.loads(RECORD.to_json()), "format": 99}
        (instance / "stable_rescue.json").write_text(json.dumps(content))
        self.assert_result(
            Code.FAILURE, instance.name, "format 99 is not known", title=self.records
        )

    def test_damaged_record_is_a_failure(self) -> None:
        (self.instance() / "stable_rescue.json").write_bytes(b"\xff\x00")
        self.assert_result(Code.FAILURE, "utf-8", title=self.records)

    def test_record_that_others_can_read_is_a_warning(self) -> None:
        instance = self.instance()
        Store(str(instance)).save(RECORD)
        self.assert_result(Code.SUCCESS, title=self.records)
        (instance / "stable_rescue.json").chmod(0o640)
        self.assert_result(Code.WARNING, "chmod 0600", title=self.records)

    def test_record_that_this_user_cannot_read_is_a_warning(self) -> None:
        path = self.instance() / "stable_rescue.json"
        denied = PermissionError(13, "Permission denied", str(path))
        with mock.patch.object(Store, "read", side_effect=denied):
            self.assert_result(
                Code.WARNING, f"{path} cannot be read: Perm", title=self.records
            )


class CommandTest(base.BaseTestCase):
    """The command in another process, with a configuration file."""

    def run_check(self, *lines: str) -> tuple[int, dict[str, dict[str, str]]]:
        """Run the command; return its status and the results by title."""
        folder = Path(self.useFixture(fixtures.TempDir()).path)
        (folder / "instances").mkdir()
        nova_conf_file = folder / "nova.conf"
        nova_conf_file.write_text(
            "[DEFAULT]\ncompute_driver = stable_rescue.StableRescueDriver\n"
            f"instances_path = {folder}/instances\nstate_path = {folder}\n"
            f"[libvirt]\nvirt_type = qemu\nconnection_uri = {TEST_DRIVER}\n"
            + "\n".join(("[stable_rescue]", *lines))
        )
        command = [sys.executable, "-m", "stable_rescue.cmd.status"]
        process = subprocess.run(
            [*command, "--config-file", nova_conf_file, "upgrade", "check", "--json"],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        self.assertTrue(process.stdout, process.stderr)
        self.assertNotIn("Warning", process.stderr)
        results = json.loads(process.stdout)["checks"]
        return process.returncode, {each["check"]: each for each in results}

    def test_every_check_runs_and_the_worst_result_is_the_status(self) -> None:
        code, results = self.run_check(
            "recovery_workers = 0", "default_mode = satble", "stalled_after = -1"
        )
        self.assertEqual(Code.FAILURE, code)
        self.assertEqual(11, len(results))
        options = results.pop("Options")
        self.assertEqual(Code.FAILURE, options["result"])
        for part in ("default_mode", "recovery_workers", "nova-compute does not start"):
            self.assertIn(part, options["details"])
        qemu = results.pop("Versions of libvirt and QEMU")
        self.assertIn("not with QEMU 0.0.2", qemu["details"])
        # Debian's Nova may be beside the one of these tests.
        del results["Packages of Nova"]
        self.assertEqual({0}, {each["result"] for each in results.values()}, results)

    def test_number_that_is_not_allowed_is_a_warning(self) -> None:
        code, results = self.run_check("recovery_workers = 0")
        self.assertEqual(Code.WARNING, code)
        self.assertIn("The default is used", results["Options"]["details"])

    def test_nova_that_is_too_old_is_named(self) -> None:
        """Debian 12 has Nova 26, which lacks modules that the checks import."""
        errors = io.StringIO()
        with (
            mock.patch.dict(sys.modules, {"oslo_upgradecheck": None}),
            mock.patch("importlib.metadata.version", return_value="26.2.2"),
            contextlib.redirect_stderr(errors),
        ):
            self.assertEqual(status.ERROR, status.main(["upgrade", "check"]))
        self.assertIn("Nova 26.2.2 in ", errors.getvalue())
        self.assertIn("needs Nova 31 or later", errors.getvalue())

    def test_python_without_nova_is_named(self) -> None:
        code = "import sys; sys.modules['nova'] = None\n"
        code += "from stable_rescue.cmd import status; sys.exit(status.main())"
        process = subprocess.run(
            [sys.executable, "-c", code, "upgrade", "check"],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        self.assertEqual((status.ERROR, ""), (process.returncode, process.stdout))
        self.assertIn(sys.prefix, process.stderr)
        self.assertNotIn("Traceback", process.stderr)
