# SPDX-License-Identifier: Apache-2.0
"""A nova-compute that a test can kill: our driver, and what it needs of Nova.

The driver, its image backend and libvirt are real. Nova's database is one file, Glance
another. Each action runs in a process of its own, forked from the test's.
"""

import contextlib
import datetime
import faulthandler
import json
import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

# Before anything of Nova is imported: native threads.
os.environ.setdefault("OS_NOVA_DISABLE_EVENTLET_PATCHING", "1")

import nova.privsep
from nova import conf as nova_conf
from nova import context as nova_context
from nova import objects
from nova.compute import power_state, task_states, vm_states
from nova.network import model as network_model
from nova.virt import fake

from stable_rescue import steps
from stable_rescue.compute import recovery
from stable_rescue.virt.driver import StableRescueDriver

CONF = nova_conf.CONF
IMAGE_ID = "3b5c0a51-7a0e-4c53-9a39-bb4e5ac1a2f6"
HOST = "compute1"
SECONDS = 90
_DEVICES: dict[str, Any] = {
    "root_device_name": "/dev/vda",
    "image": [],
    "ephemerals": [],
    "swap": None,
    "block_device_mapping": [],
}


class Images:
    """Nova's image API, as far as a rescue asks it."""

    def __init__(self, source: Path) -> None:
        self._source = source

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
            "properties": {"hw_rescue_bus": "usb", "hw_rescue_device": "disk"},
        }

    def download(
        self, _context: Any, _image_id: str, dest_path: str = "", **_options: Any
    ) -> Iterator[bytes] | None:
        if dest_path:
            shutil.copyfile(self._source, dest_path)
            return None
        return iter([self._source.read_bytes()])


class Database:
    """The row of one instance, in a file."""

    def __init__(self, path: Path, uuid: str) -> None:
        self._path = path
        self._uuid = uuid

    def read(self) -> dict[str, Any]:
        return dict(json.loads(self._path.read_text()))

    def write(self, **row: Any) -> None:
        new = self._path.with_suffix(".new")
        new.write_text(json.dumps(row))
        new.replace(self._path)

    def instance(self) -> objects.Instance:
        """Return the instance; its save() writes the row."""
        now = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
        flavor = objects.Flavor(
            id=1, name="f", flavorid="f", memory_mb=256, vcpus=1, root_gb=1,
            ephemeral_gb=0, swap=0, rxtx_factor=1.0, extra_specs={}, is_public=True,
        )  # fmt: skip
        instance = objects.Instance(
            id=1, uuid=self._uuid, host=HOST, node=HOST, image_ref=IMAGE_ID,
            kernel_id="", ramdisk_id="", config_drive="", flavor=flavor,
            system_metadata={}, metadata={}, launched_at=now, created_at=now,
            trusted_certs=None, os_type=None, ephemeral_key_uuid=None,
            project_id="p", user_id="u", hostname="h", display_name="server",
            deleted=False, cleaned=False, pci_devices=None, pci_requests=None,
            numa_topology=None, vcpu_model=None, root_device_name="/dev/vda",
            default_ephemeral_device=None, default_swap_device=None,
            info_cache=objects.InstanceInfoCache(
                network_info=network_model.NetworkInfo()
            ),
        )  # fmt: skip
        self.refresh(instance)
        return instance

    def refresh(self, instance: objects.Instance) -> None:
        for key, value in self.read().items():
            setattr(instance, key, value)

    def save(self, instance: objects.Instance, **_expected: Any) -> None:
        self.write(
            vm_state=instance.vm_state,
            task_state=instance.task_state,
            power_state=instance.power_state,
        )


class _Manager:
    """What is of Nova's manager behind the recovery at its start."""

    host = HOST

    def __init__(self, driver: StableRescueDriver) -> None:
        self.driver = driver
        self.share_manager = mock.Mock()
        self.share_manager.get_share_info.return_value = []

    def _get_power_state(self, instance: objects.Instance) -> int:
        return int(self.driver.get_info(instance).state)

    def init_host(self, context: Any, instance: objects.Instance) -> None:
        """As Nova's, of a host with one instance."""
        self._init_instance(context, instance)

    def _init_instance(self, _context: Any, instance: objects.Instance) -> None:
        """Nova has nothing to do for an instance at rest."""


class Manager(recovery.RecoveryMixin, _Manager):
    """Does what Nova's manager and ours do of a rescue, in their order."""

    def rescue(self, context: Any, instance: objects.Instance) -> None:
        try:
            self.driver.prepare_rescue(
                context, instance, IMAGE_ID, "secret", lambda: dict(_DEVICES)
            )
        except Exception:
            instance.task_state = None
            instance.save()
            raise
        with self._settled(context, instance):
            self.driver.power_off(instance)
            meta = objects.ImageMeta.from_dict(
                {"id": IMAGE_ID, "properties": {"hw_rescue_bus": "usb"}}
            )
            self.driver.rescue(context, instance, [], meta, "secret", {}, [])
        self._saved(instance, vm_states.RESCUED)

    def unrescue(self, context: Any, instance: objects.Instance) -> None:
        with self._settled(context, instance):
            self.driver.unrescue(context, instance)
        self._saved(instance, vm_states.ACTIVE)
        self._forget(instance)

    @contextlib.contextmanager
    def _settled(self, context: Any, instance: objects.Instance) -> Iterator[None]:
        try:
            yield
        except Exception:
            instance.task_state = None
            self._settle(context, instance, finish=False)
            raise

    def _saved(self, instance: objects.Instance, vm_state: str) -> None:
        instance.vm_state, instance.task_state = vm_state, None
        instance.power_state = self._get_power_state(instance)
        self._keep_stopped(instance, instance.power_state)
        instance.save()


class Compute:
    """A nova-compute with one server."""

    def __init__(self, instances: Path, uuid: str, image: Path) -> None:
        self.database = Database(instances / "database.json", uuid)
        self._instances = instances
        self._image = image

    def act(
        self,
        action: str,
        observe: Callable[[str], None] | None = None,
        patch: contextlib.AbstractContextManager[Any] | None = None,
    ) -> tuple[int, str]:
        """Do an action in a process of its own; return its exit code and its words.

        A code below 0 is the signal that has ended it.

        :param patch: is entered in that process
        """
        said = self._instances / "said.log"
        pid = os.fork()
        if pid == 0:
            self._in_child(action, observe, said, patch or contextlib.nullcontext())
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                return os.waitstatus_to_exitcode(status), said.read_text()
            time.sleep(0.02)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise AssertionError(
            f"{action} has not ended in {SECONDS} seconds: {said.read_text()[-6000:]}"
        )

    def _in_child(
        self,
        action: str,
        observe: Callable[[str], None] | None,
        said: Path,
        patch: contextlib.AbstractContextManager[Any],
    ) -> None:
        """Run an action and end the process, whatever happens."""
        code = 1
        try:
            with said.open("w") as stream:
                os.dup2(stream.fileno(), 1)
                os.dup2(stream.fileno(), 2)
            # Where it hangs, if it does.
            faulthandler.dump_traceback_later(SECONDS - 10, file=2)
            with patch:
                self._run(action, observe)
            code = 0
        except BaseException:  # noqa: BLE001 - it is told, and the process ends
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _run(self, action: str, observe: Callable[[str], None] | None) -> None:
        self._configure()
        context = nova_context.get_admin_context()
        images = Images(self._image)
        with (
            mock.patch.object(
                objects.Instance,
                "save",
                lambda instance, **expected: self.database.save(instance, **expected),
            ),
            mock.patch.object(
                objects.Instance,
                "refresh",
                lambda instance, *_: self.database.refresh(instance),
            ),
            mock.patch("nova.virt.images.IMAGE_API", images),
            mock.patch("nova.objects.InstanceActionEvent.event_start"),
            mock.patch("nova.objects.InstanceActionEvent.event_finish_with_failure"),
            mock.patch(
                "nova.objects.BlockDeviceMappingList.get_by_instance_uuid",
                lambda *_: objects.BlockDeviceMappingList(objects=[]),
            ),
            mock.patch("stable_rescue.storage.inspection.root_gb", return_value=1),
            mock.patch(
                "nova.objects.InstanceList.get_by_host",
                lambda *_a, **_k: [self.database.instance()],
            ),
        ):
            driver = StableRescueDriver(fake.FakeVirtAPI(), False)
            driver._image_api = images
            driver._create_configdrive = self._make_config_drive
            driver._host.initialize()
            manager = Manager(driver)
            instance = self.database.instance()
            if observe is not None:
                steps.observe = observe
            if action == "restart":
                manager.init_host(context, instance)
                return
            instance.task_state = f"{action.removesuffix('e')}ing"
            assert instance.task_state in (
                task_states.RESCUING,
                task_states.UNRESCUING,
            )
            instance.save()
            getattr(manager, action)(context, instance)

    def _make_config_drive(
        self, _context: Any, instance: Any, *_: Any, **__: Any
    ) -> None:
        """Write a file in place of Nova's, which needs the metadata of a cloud."""
        Path(self._instances, instance.uuid, "disk.config.rescue").write_bytes(
            bytes(64 * 1024)
        )

    def _configure(self) -> None:
        objects.register_all()
        CONF([], project="nova", default_config_files=[], default_config_dirs=[])
        for name, value, group in (
            ("instances_path", str(self._instances), None),
            ("state_path", str(self._instances), None),
            ("host", HOST, None),
            ("virt_type", "qemu", "libvirt"),
            ("images_type", "raw", "libvirt"),
            ("lock_path", str(self._instances / "locks"), "oslo_concurrency"),
            ("allow_mapping_mismatch", True, "stable_rescue"),
            ("shutdown_timeout", 0, None),
        ):
            CONF.set_override(name, value, group=group)
        nova.privsep.sys_admin_pctxt.set_client_mode(False)


RUNNING, SHUTDOWN = power_state.RUNNING, power_state.SHUTDOWN
