# SPDX-License-Identifier: Apache-2.0
"""The commands of the manual, as users and operators would type them.

Only the names of servers and images are replaced, and sudo is left out. The commands
find the lab's nova.conf in the home directory, where oslo.config looks first.
``tests/unit/test_manual_commands.py`` compares STORY with the manual. Cases are machine
types.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

from lab.config import Lab
from lab.demo.request import Request
from lab.demo.server import DemoServer
from lab.demo.stage import Stage
from lab.servers.api import BOOT_SECONDS, poll
from stable_rescue.tempest.guest.comparison import compare

#: Before the server is made.
PREPARATION = (
    "openstack image create --file rescue.qcow2 --disk-format qcow2 "
    "--container-format bare --property hw_rescue_device=disk "
    "--property hw_rescue_bus=usb rescue",
    "openstack image set --property hw_rescue_device=disk "
    "--property hw_rescue_bus=usb IMAGE",
    "openstack image set --property hw_rescue_bus=usb "
    "--property hw_rescue_writes=discard --property hw_rescue_network=quarantine "
    "--property hw_rescue_memory=dump forensics",
    "openstack flavor set --property trait:CUSTOM_STABLE_RESCUE=required FLAVOR",
)
#: While the server is not rescued, then in three rescues.
STORY = (
    "sudo -u nova stable-rescue-status upgrade check",
    "stable-rescue-status --config-file /etc/nova/other.conf upgrade check",
    "virsh dumpxml instance-0000002a > server.xml",
    "stable-rescue plan --domain-xml server.xml --property hw_rescue_bus=usb",
    "virsh dumpxml instance-00000001 | stable-rescue plan --domain-xml - "
    "--property hw_rescue_bus=usb",
    "openstack server rescue --image IMAGE --password PASSWORD SERVER",
    "sudo -u nova stable-rescue list",
    "sudo -u nova stable-rescue verify SERVER",
    "openstack console url show SERVER",
    "openstack server unrescue SERVER",
    'until [ "$(openstack server show -f value -c OS-EXT-STS:task_state SERVER)" = '
    "None ]; do sleep 2; done",
    "openstack server show -f value -c status SERVER",
    "stable-rescue plan 0090f420-6f20-4d75-9fa9-4b5d48852ac0 --image IMAGE_ID",
    "openstack server rescue --image forensics --password PASSWORD web-1",
    "openstack server event list web-1",
    "stable-rescue verify 0090f420-6f20-4d75-9fa9-4b5d48852ac0",
    "stable-rescue report --hash 0090f420-6f20-4d75-9fa9-4b5d48852ac0",
    "openstack server unrescue web-1",
    "stable-rescue report -f json 0090f420-6f20-4d75-9fa9-4b5d48852ac0 > report-2.json",
    "openstack image set --property hw_rescue_bus=usb "
    "--property hw_rescue_writes=discard IMAGE",
    "openstack server rescue --image IMAGE --password PASSWORD SERVER",
    "chgrp nova /var/lib/prometheus/node-exporter",
    "chmod g+w /var/lib/prometheus/node-exporter",
    "lsblk -o NAME,SIZE,FSTYPE,LABEL,SERIAL,MOUNTPOINTS",
)
#: What a user types in the rescue system. Here the host runs them in a mount namespace
#: of their own, on a folder with a shell in place of the server's disk.
IN_GUEST = (
    "mount /dev/vda1 /mnt",
    "for folder in dev proc sys; do mount --rbind /$folder /mnt/$folder; done",
    "chroot /mnt",
)
SERVER, FLAVOR, IMAGE, FORENSICS = "web-1", "lab.full", "rescue", "forensics"
TRAIT = "trait:CUSTOM_STABLE_RESCUE"
SECONDS = 300
_UNRESCUE = "openstack server unrescue"
# verify ends with this status while the guest has not booted.
_NOT_ALL = 3


def cases(request: Request) -> list[str]:
    """Return the machine types to play."""
    return ["q35", "pc"] if request.every_case else [request.machine]


def play(stage: Stage, case: str) -> bool:
    """Run every command; return True if none fails, and the server is restored."""
    stage.head(f"{case}, the commands of the manual")
    with contextlib.ExitStack() as cleanup:
        shell = _Shell(stage.lab, cleanup)
        server = cleanup.enter_context(stage.server(SERVER))
        factory, cloud = server.factory, stage.cloud
        original = factory.image(stage.images.original_qcow2, **stage.hardware(case))
        forensics = factory.image(stage.images.rescue("disk"))
        cloud.image.update_image(forensics, name=FORENSICS)
        shell.words |= {
            "rescue.qcow2": str(stage.images.rescue_qcow2),
            "IMAGE": IMAGE,
            "IMAGE_ID": forensics,
            "FLAVOR": FLAVOR,
            "PASSWORD": "Secret-17",
        }
        cleanup.callback(_restore, stage)
        for command in PREPARATION:
            shell.run(command)
        with server.booted(original):
            before = server.inventory()
            domain = server.show().instance_name
            shell.words |= {
                "SERVER": server.server.id,
                "0090f420-6f20-4d75-9fa9-4b5d48852ac0": server.server.id,
                "instance-0000002a": domain,
                "instance-00000001": domain,
            }
            for command in STORY:
                _act(shell, server, command)
            shell.run_in_guest()
            server.unrescue()
            changes = compare(before, server.inventory()).originals
    moved = [f"in the guest: {change}" for change in changes if change.disturbed]
    print(f"{shell.count} commands, {len(shell.faults)} failed; moved: {len(moved)}")
    return stage.verdict([*shell.faults, *moved])


def _act(shell: _Shell, server: DemoServer, command: str) -> None:
    """Run a command, and wait until Nova and the guest are ready for the next one."""
    if " verify " in command:
        shell.run(command, until_booted=True)
        return
    shell.run(command)
    # The loop in STORY waits for the first unrescue.
    if command.startswith(("openstack server rescue", f"{_UNRESCUE} {SERVER}")):
        server.wait_for_task()


def _restore(stage: Stage) -> None:
    """Undo what the commands did to the cloud."""
    compute = stage.cloud.compute
    compute.delete_flavor_extra_specs_property(compute.find_flavor(FLAVOR), TRAIT)
    stage.cloud.image.delete_image(stage.cloud.image.find_image(IMAGE))


class _Shell:
    """Runs commands with other words, in a folder of their own."""

    def __init__(self, lab: Lab, cleanup: contextlib.ExitStack) -> None:
        folder = cleanup.enter_context(tempfile.TemporaryDirectory(dir=lab.state))
        self._folder = Path(folder)
        (self._folder / ".nova").symlink_to(lab.etc("nova"))
        other = self._folder / "other.conf"
        files = ("nova.conf", "nova-compute.conf")
        other.write_text("\n".join((lab.etc("nova") / f).read_text() for f in files))
        self.words = {
            "/etc/nova/other.conf": str(other),
            "/var/lib/prometheus/node-exporter": folder,
            "chgrp nova": "chgrp root",
        }
        path = f"{lab.venv / 'bin'}:{os.environ['PATH']}"
        self._environment = {**os.environ, "PATH": path, "HOME": folder}
        self.faults: list[str] = []
        self.count = 0

    def run(self, command: str, until_booted: bool = False) -> None:
        """Run a command; a failure is a fault.

        :param until_booted: repeat the command while the guest boots
        """
        self.count += 1
        known = "|".join(map(re.escape, self.words))
        text = re.sub(
            rf"(?<![\w-])({known})(?![\w-])",
            lambda word: self.words[word[0]],
            command.removeprefix("sudo -u nova "),
        )
        process = self._call(text)

        def repeat() -> subprocess.CompletedProcess[str] | None:
            again = self._call(text)
            return None if again.returncode == _NOT_ALL else again

        if until_booted and process.returncode == _NOT_ALL:
            process = poll("the boot of the rescue system", repeat, BOOT_SECONDS)
        self._print(command, process)

    def run_in_guest(self) -> None:
        """Run the commands of the rescue system; a failure is a fault."""
        self.count += len(IN_GUEST)
        disk = self._folder / "disk"
        for name in ("bin", "dev", "proc", "sys"):
            (disk / name).mkdir(parents=True)
        busybox = shutil.which("busybox")
        assert busybox is not None  # the guests are made with it
        shutil.copy(busybox, disk / "bin" / "busybox")
        script = "\n".join(IN_GUEST).replace("/dev/vda1", f"--bind {disk}")
        command = f"{script} /bin/busybox ls -d /dev/null /proc/self /sys/class"
        namespace = f"unshare --mount bash -ec {shlex.quote(command)}"
        self._print("; ".join(IN_GUEST), self._call(namespace))

    def _call(self, text: str) -> subprocess.CompletedProcess[str]:
        """Run a command with a shell, which the commands are written for."""
        return subprocess.run(
            ["bash", "-o", "pipefail", "-ec", text],
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    def _print(self, command: str, process: subprocess.CompletedProcess[str]) -> None:
        print(f"$ {command}\n{process.stdout}{process.stderr}", flush=True)
        if process.returncode or "Traceback" in process.stderr:
            self.faults.append(f"{command}: status {process.returncode}")
