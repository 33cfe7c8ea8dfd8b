# SPDX-License-Identifier: Apache-2.0
"""The order of the lab's services, and what they write with which mode."""

import json
import stat
import tempfile
import unittest
from pathlib import Path
from typing import ClassVar

from lab.config import Lab, Options
from lab.errors import LabError
from lab.runner import Runner
from lab.service import Service, wait_until
from lab.services import all_services
from lab.services.nova import NovaCompute, NovaDatabase


class Recorded(Service):
    """A service without a process that records its steps."""

    steps: ClassVar[list[str]] = []
    up = False

    def prepare(self) -> None:
        self.steps.append(f"{self.name} prepare")

    def start(self) -> None:
        self.steps.append(f"{self.name} start")
        self.up = True

    def ready(self) -> bool:
        return self.up

    def populate(self) -> None:
        self.steps.append(f"{self.name} populate")


class Database(Recorded):
    name = "database"


class Web(Recorded):
    name = "web"
    requires = ("database",)


class Broken(Recorded):
    name = "broken"

    def start(self) -> None:
        raise LabError("no such binary")


class AfterBroken(Recorded):
    name = "after"
    requires = ("broken",)


class LabCase(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.lab = Lab(Path(folder.name))
        Recorded.steps.clear()


class RunnerTest(LabCase):
    def run_services(self, *kinds: type[Service]) -> None:
        services = [kind(self.lab) for kind in kinds]
        Runner(self.lab, services, lambda _text: None).run()

    def test_runner_populates_a_service_before_what_requires_it(self) -> None:
        self.run_services(Web, Database)
        self.assertEqual(
            [
                f"{name} {step}"
                for name in ("database", "web")
                for step in ("prepare", "start", "populate")
            ],
            Recorded.steps,
        )

    def test_runner_prepares_and_populates_once(self) -> None:
        self.run_services(Database)
        self.run_services(Database)
        self.assertEqual(1, Recorded.steps.count("database prepare"))
        self.assertEqual(1, Recorded.steps.count("database populate"))

    def test_runner_failure_names_the_service(self) -> None:
        with self.assertRaisesRegex(LabError, "broken: no such binary"):
            self.run_services(AfterBroken, Broken)
        self.assertNotIn("after prepare", Recorded.steps)

    def test_runner_refuses_an_unknown_requirement(self) -> None:
        with self.assertRaisesRegex(LabError, "web requires database"):
            self.run_services(Web)

    def test_services_of_all_options_have_what_they_require(self) -> None:
        for network in (True, False):
            for backends in ((), ("ceph",), ("storpool",), ("ceph", "storpool")):
                self.lab.options = Options(network=network, backends=backends)
                services = all_services(self.lab)
                Runner(self.lab, services, lambda _text: None)
                names = [service.name for service in services]
                self.assertEqual(sorted(set(names)), sorted(names))
                self.assertEqual(network, "ovs-vswitchd" in names)


class FilesTest(LabCase):
    def test_template_is_written_for_root_only(self) -> None:
        service = Database(self.lab)
        values = {"database": "mysql://", "etc": "/e", "memcached": "m:1"}
        target = service.render("keystone.conf", self.lab.etc("x") / "y", values)
        self.assertIn("connection = mysql://\n", target.read_text())
        self.assertEqual(0o600, stat.S_IMODE(target.stat().st_mode))

    def test_template_error_names_the_missing_value(self) -> None:
        with self.assertRaisesRegex(LabError, "keystone.conf.*memcached"):
            Database(self.lab).render(
                "keystone.conf", self.lab.etc("x") / "y", {"database": "", "etc": ""}
            )

    def test_nova_compute_gets_the_driver_and_no_database(self) -> None:
        environment = self.lab.venv / "etc" / "nova"
        (environment / "rootwrap.d").mkdir(parents=True)
        (environment / "rootwrap.conf").touch()
        (environment / "api-paste.ini").touch()
        self.lab.options = Options(driver="some.Driver", backends=(), as_root=True)
        for service in (NovaDatabase(self.lab), NovaCompute(self.lab)):
            service.configure()
        etc = self.lab.etc("nova")
        compute = (etc / "nova-compute.conf").read_text()
        self.assertIn("compute_driver = some.Driver", compute)
        # nova-compute reads these two files, and it must not reach a database.
        self.assertNotIn("mysql", compute + (etc / "nova.conf").read_text())

    def test_secret_is_generated_once_for_root_only(self) -> None:
        first = self.lab.secret("admin")
        self.assertNotEqual(first, self.lab.secret("other"))
        again = Lab(self.lab.state)
        self.assertEqual(first, again.secret("admin"))
        file = self.lab.state / "secrets.json"
        self.assertEqual(0o600, stat.S_IMODE(file.stat().st_mode))
        self.assertEqual({"admin", "other"}, set(json.loads(file.read_text())))

    def test_options_are_loaded_as_saved(self) -> None:
        options = Options("a.B", "33.0.0", False, ("ceph",))
        options.save(self.lab.options_file)
        self.assertEqual(options, Lab.open(self.lab.state).options)


class WaitTest(LabCase):
    def test_wait_that_fails_names_its_subject_and_shows_the_log(self) -> None:
        log = self.lab.log("some")
        log.write_text("first\nlast words\n")
        with self.assertRaisesRegex(LabError, "(?s)the moon.*Try.*last words"):
            wait_until("the moon", lambda: False, 0.0, log=log, hint="Try again.")
