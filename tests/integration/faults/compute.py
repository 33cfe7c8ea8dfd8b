# SPDX-License-Identifier: Apache-2.0
"""A nova-compute that a test can kill, with one server.

The compute manager, the driver, its image backend and libvirt are real. Nova's database
is a SQLite file, and a stub serves the rescue image from a file. Each action runs in a
new process, which is forked from the test's process.
"""

import contextlib
import faulthandler
import functools
import gc
import os
import select
import shutil
import signal
import sqlite3
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

# Choose native threads before anything of Nova is imported.
os.environ.setdefault("OS_NOVA_DISABLE_EVENTLET_PATCHING", "1")

import nova.privsep
from nova import conf as nova_conf
from nova import config, objects, rpc, service
from nova import context as nova_context
from nova.compute import instance_actions, power_state, task_states, vm_states
from nova.db.main import api as database
from nova.db.main import models
from nova.network import model as network_model
from nova.scheduler.client import report
from oslo_messaging import conffixture as messaging_fixture
from sqlalchemy import orm

from stable_rescue import activation, steps
from stable_rescue.compute.manager import ComputeManager
from stable_rescue.storage import requests
from stable_rescue.virt.driver import StableRescueDriver
from tests.faults.assertions import NovaState
from tests.integration.faults import statements

CONF = nova_conf.CONF
IMAGE_ID = "3b5c0a51-7a0e-4c53-9a39-bb4e5ac1a2f6"
HOST = "compute1"
SECONDS = 300
# What Nova's init_host loads of its instances.
_LOADED = ["info_cache", "metadata", "system_metadata", "numa_topology", "flavor"]

# Every action runs in a new process. This is half of what each would have to do.
objects.register_all()
orm.configure_mappers()
messaging_fixture.ConfFixture(CONF)


class Images:
    """A stub of Nova's image API with one image, for what a rescue uses."""

    def __init__(self, source: Path, properties: dict[str, str]) -> None:
        self._source = source
        self._properties = properties

    def get(self, _context: Any, image_id: str, **_options: Any) -> dict[str, Any]:
        return {
            "id": image_id,
            "name": "rescue",
            "status": "active",
            "container_format": "bare",
            "disk_format": "raw",
            "size": self._source.stat().st_size,
            "min_ram": 0,
            "min_disk": 0,
            "checksum": "c",
            "properties": self._properties,
        }

    def generate_image_url(self, image_id: str, _context: Any) -> str:
        return f"http://192.0.2.1:9292/images/{image_id}"

    def download(
        self, _context: Any, _image_id: str, dest_path: str = "", **_options: Any
    ) -> Iterator[bytes] | None:
        if dest_path:
            shutil.copyfile(self._source, dest_path)
            return None
        return iter([self._source.read_bytes()])


class Compute:
    """A nova-compute with one server.

    :param folder: holds the database and the output of nova-compute
    :param instances: the instances path, on a filesystem that may be full
    :param uuid: the server's
    :param image: the file of the rescue image
    """

    def __init__(self, folder: Path, instances: Path, uuid: str, image: Path) -> None:
        #: The file of Nova's database.
        self.database = folder / "nova.sqlite"
        self._output = folder / "output.log"
        #: The operator's folder for memory dumps.
        self.dumps = folder / "dumps"
        self.dumps.mkdir(mode=0o700, exist_ok=True)
        #: Further options of [stable_rescue].
        self.options: dict[str, Any] = {}
        self._instances = instances
        self._uuid = uuid
        self._image = image
        #: The properties of the rescue image.
        self.properties = {"hw_rescue_bus": "usb", "hw_rescue_device": "disk"}

    def state(self) -> NovaState:
        """Return the server's state in Nova's database."""
        with contextlib.closing(sqlite3.connect(self.database)) as connection:
            query = f"SELECT {', '.join(NovaState._fields)} FROM instances"
            (row,) = connection.execute(query).fetchall()
        return NovaState(*row)

    def create_server(self, running: bool) -> None:
        """Create the database, and the server in it."""
        _compile_statements()
        _report_client()
        code, output = self._fork(lambda: self._create_server(running))
        assert code == 0, output

    def act(
        self,
        action: str,
        observe: Callable[[str], None] | None = None,
        patch: contextlib.AbstractContextManager[Any] | None = None,
    ) -> tuple[int, str]:
        """Do an action in a new process; return its exit code and its output.

        A negative code is the number of the signal that has ended the process.

        :param action: "rescue", "unrescue", "restart" for the start of nova-compute, or
            "requests" for a nova-compute that carries out requests of an operator
        :param observe: replaces stable_rescue.steps.observe in that process
        :param patch: is entered in that process
        """

        def run() -> None:
            with patch or contextlib.nullcontext():
                self._run(action, observe)

        return self._fork(run)

    def call(self, function: Callable[[], None]) -> tuple[int, str]:
        """Call a function in a new process that has nova-compute's configuration.

        :returns: its exit code and its output
        """
        return self._fork(function)

    def _fork(self, function: Callable[[], None]) -> tuple[int, str]:
        pid = os.fork()
        if pid == 0:
            self._in_child(function)
        process = os.pidfd_open(pid)
        ended, _, _ = select.select([process], [], [], SECONDS)
        os.close(process)
        if ended:
            _, status = os.waitpid(pid, 0)
            output = self._output.read_text(errors="replace")
            return os.waitstatus_to_exitcode(status), output
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise AssertionError(
            f"nova-compute has not ended after {SECONDS} s; its output ends with:\n"
            f"{self._output.read_text(errors='replace')[-6000:]}"
        )

    def _in_child(self, function: Callable[[], None]) -> None:
        """Call a function and end the process, whatever happens."""
        code = 1
        # Objects of the test's process are not looked at, as there are many.
        gc.freeze()
        try:
            with self._output.open("w") as stream:
                os.dup2(stream.fileno(), 1)
                os.dup2(stream.fileno(), 2)
            # If it hangs, the output shows where.
            faulthandler.dump_traceback_later(SECONDS - 10, file=2)
            self._configure()
            function()
            code = 0
        except BaseException:  # noqa: BLE001 - it is printed, and the process ends
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _configure(self) -> None:
        config.parse_args(
            ["nova-compute"],
            default_config_files=[],
            configure_db=False,
            init_rpc=False,
        )
        for name, value, group in (
            ("compute_driver", activation.COMPUTE_DRIVER, None),
            ("connection", f"sqlite:///{self.database}", "database"),
            ("instances_path", str(self._instances), None),
            ("state_path", str(self._instances), None),
            ("host", HOST, None),
            ("auth_type", "none", "service_user"),
            ("virt_type", "qemu", "libvirt"),
            ("images_type", "raw", "libvirt"),
            ("lock_path", str(self._instances / "locks"), "oslo_concurrency"),
            ("allow_mapping_mismatch", True, "stable_rescue"),
            ("allowed_writes", ["keep", "discard"], "stable_rescue"),
            ("memory_dump_path", str(self.dumps), "stable_rescue"),
            # No request is queued, so recovery need not wait for one.
            ("stalled_after", 0, "stable_rescue"),
            ("shutdown_timeout", 0, None),
            # The name of the scene's domain.
            ("instance_name_template", f"instance-{self._uuid[:8]}", None),
        ):
            CONF.set_override(name, value, group=group)
        for name, value in self.options.items():
            CONF.set_override(name, value, "stable_rescue")
        nova_conf.neutron.register_dynamic_opts(CONF)
        messaging = messaging_fixture.ConfFixture(CONF)
        messaging.setUp()
        messaging.transport_url = "fake:/"
        nova.privsep.sys_admin_pctxt.set_client_mode(False)
        rpc.init(CONF)
        database.configure(CONF)

    def _create_server(self, running: bool) -> None:
        models.BASE.metadata.create_all(database.get_engine())
        _create_server(nova_context.get_admin_context(), self._uuid, running)

    def _run(self, action: str, observe: Callable[[str], None] | None) -> None:
        images = Images(self._image, self.properties)
        with (
            mock.patch.object(report, "SchedulerReportClient", _report_client()),
            mock.patch("nova.image.glance.API", lambda: images),
            mock.patch("nova.virt.images.IMAGE_API", images),
            mock.patch("nova.compute.manager.ComputeManager.init_host", _init_host),
            # With limits, each call of qemu-img starts a Python process first.
            mock.patch("nova.privsep.qemu.QEMU_IMG_LIMITS", None),
        ):
            manager = self._new_manager()
            if observe is not None:
                steps.observe = observe
            if action == "restart":
                manager.init_host(None)
            elif action == "requests":
                _carry_out_requests(manager)
            else:
                self._call(manager, action)

    def _new_manager(self) -> ComputeManager:
        """Return the compute manager that nova-compute would start."""
        activation.activate()
        assert service.SERVICE_MANAGERS["nova-compute"] == activation.MANAGER
        manager = ComputeManager(host=HOST)
        assert isinstance(manager.driver, StableRescueDriver)
        manager.network_api = mock.Mock()
        manager.network_api.get_instance_nw_info.return_value = (
            network_model.NetworkInfo()
        )
        manager.driver._create_configdrive = self._make_config_drive
        manager.driver._host.initialize()
        return manager

    def _make_config_drive(
        self, _context: Any, instance: Any, *_: Any, **__: Any
    ) -> None:
        """Write a file in place of Nova's config drive, which needs metadata."""
        Path(self._instances, instance.uuid, "disk.config.rescue").write_bytes(
            bytes(64 * 1024)
        )

    def _call(self, manager: ComputeManager, action: str) -> None:
        """Call the manager as the API does, with the task state set."""
        context = nova_context.get_admin_context()
        instance = objects.Instance.get_by_uuid(
            context, self._uuid, expected_attrs=_LOADED
        )
        objects.InstanceAction.action_start(context, self._uuid, action)
        if action == instance_actions.RESCUE:
            instance.task_state = task_states.RESCUING
            instance.save(expected_task_state=[None])
            manager.rescue_instance(context, instance, "secret", IMAGE_ID, True)
        else:
            instance.task_state = task_states.UNRESCUING
            instance.save(expected_task_state=[None])
            manager.unrescue_instance(context, instance)


@functools.cache
def _report_client() -> Any:
    """Return a stub of Placement's client, made once in the test's process.

    oslotest gives each patch that has no stub the signatures of all methods. This
    would take each nova-compute 40 ms of CPU time.
    """
    return mock.create_autospec(report.SchedulerReportClient)


@functools.cache
def _compile_statements() -> None:
    """Compile the statements of nova-compute, once in the test's process."""
    statements.compile_all(
        lambda context: _create_server(context, IMAGE_ID, running=True), _LOADED
    )


def _create_server(context: Any, uuid: str, running: bool) -> objects.Instance:
    """Create a server in the database; return it."""
    flavor = objects.Flavor(
        id=1, name="f", flavorid="f", memory_mb=256, vcpus=1, root_gb=1,
        ephemeral_gb=0, swap=0, rxtx_factor=1.0, extra_specs={}, is_public=True,
    )  # fmt: skip
    instance = objects.Instance(
        context, uuid=uuid, host=HOST, node=HOST, compute_id=1,
        image_ref=IMAGE_ID,
        project_id="p", user_id="u", hostname="h", display_name="server",
        flavor=flavor, old_flavor=None, new_flavor=None, memory_mb=256, vcpus=1,
        root_gb=1, ephemeral_gb=0, root_device_name="/dev/vda",
        system_metadata={}, metadata={},
        info_cache=objects.InstanceInfoCache(
            network_info=network_model.NetworkInfo()
        ),
        vm_state=vm_states.ACTIVE if running else vm_states.STOPPED,
        power_state=power_state.RUNNING if running else power_state.SHUTDOWN,
    )  # fmt: skip
    instance.create()
    objects.BlockDeviceMapping(
        context, instance_uuid=uuid, source_type="image", image_id=IMAGE_ID,
        destination_type="local", device_type="disk", device_name="/dev/vda",
        boot_index=0, delete_on_termination=True, tag=None,
    ).create()  # fmt: skip
    return instance


def _carry_out_requests(manager: ComputeManager) -> None:
    """Wait for the request of a command, and carry it out until the command ends."""
    context = nova_context.get_admin_context()
    deadline = time.monotonic() + SECONDS
    was_made = False
    while time.monotonic() < deadline:
        manager._recover_requested(context)
        is_left = any(requests.folder().glob("*"))
        if was_made and not is_left:
            break
        was_made = was_made or is_left or bool(manager._recovering)
        time.sleep(0.02)
    for recovery in manager._recovering.values():
        recovery.result(SECONDS)


def _init_host(manager: ComputeManager, _service_ref: Any) -> None:
    """Initialize the instances, as Nova's init_host does, but not the host itself."""
    context = nova_context.get_admin_context()
    instances = objects.InstanceList.get_by_host(
        context, manager.host, expected_attrs=_LOADED
    )
    for instance in instances:
        manager._init_instance(context, instance)
