# SPDX-License-Identifier: Apache-2.0
"""rescue-login: set root's password to the one that Nova gave this rescue.

Nova writes the password of a rescue to the config drive as admin_pass. cloud-init sets
the SSH keys and does not read admin_pass. Without a password, root stays locked.
"""

import argparse
import json
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from rescue_tools import STATE, RescueError
from rescue_tools.commands import Commands
from rescue_tools.disks import CONFIG_DRIVE_LABEL, Device, read

_FILE = "openstack/latest/meta_data.json"
_CLOUD_INIT = Path("/run/cloud-init/instance-data-sensitive.json")
_NOTE = Path("/run/issue.d/rescue.issue")
_NO_PASSWORD = """\
No password was found on a config drive or at the metadata service: root has none.
SSH keys of the server may work. For a password, the rescue needs a config drive:
[stable_rescue] config_drive = always on the compute host gives it one.

"""


def password_in(text: str) -> str:
    """Return the password in the metadata of a server, or an empty string."""
    try:
        metadata = json.loads(text)
    except ValueError:
        return ""
    password = metadata.get("admin_pass") if isinstance(metadata, dict) else None
    return password if isinstance(password, str) and "\n" not in password else ""


def password_of_cloud_init(text: str) -> str:
    """Return the password in what cloud-init got, or an empty string."""
    try:
        metadata = json.loads(text)["ds"]["meta_data"]
    except (ValueError, KeyError, TypeError):
        return ""
    return password_in(json.dumps(metadata))


def config_drives(devices: Iterator[Device]) -> list[Device]:
    """Return the devices that look like config drives, the likeliest first.

    Nova's are whole devices. A partition with this label came with an image.
    """
    found = [device for device in devices if device.label.lower() == CONFIG_DRIVE_LABEL]
    return sorted(found, key=lambda device: device.kind == "part")


def password_on(device: Device) -> str:
    """Return the password on a config drive, which is mounted read-only meanwhile.

    The string is empty if the device cannot be mounted or has no password.
    """
    with tempfile.TemporaryDirectory() as folder:
        # Only the two file systems that config drives have: neither has a journal.
        options = ["-t", "iso9660,vfat", "-o", "ro,nosuid,nodev,noexec"]
        if subprocess.run(["mount", *options, device.path, folder]).returncode:
            return ""
        try:
            return password_in((Path(folder) / _FILE).read_text())
        except OSError:
            return ""
        finally:
            subprocess.run(["umount", folder], check=True)


def set_password(password: str) -> None:
    """Set root's password.

    :raises RescueError: if chpasswd fails
    """
    completed = subprocess.run(["chpasswd"], input=f"root:{password}\n", text=True)
    if completed.returncode:
        raise RescueError("chpasswd failed: root has no password")


def main(arguments: list[str] | None = None) -> int:
    """Set the password, if there is one; return the status of the command."""
    parser = argparse.ArgumentParser(prog="rescue-login", description=__doc__)
    parser.add_argument("source", choices=("config-drive", "metadata"))
    source = parser.parse_args(arguments).source
    done = STATE / "password"
    if done.exists():
        return 0
    password = ""
    if source == "config-drive":
        disks = read(Commands())
        devices = (device for disk in disks.server for device in disk.walk())
        for drive in config_drives(devices):
            password = password or password_on(drive)
    elif _CLOUD_INIT.exists():
        password = password_of_cloud_init(_CLOUD_INIT.read_text())
    if password:
        set_password(password)
        done.touch()
        _NOTE.unlink(missing_ok=True)
        print(f"root has the password of the {source}")
        return 0
    _NOTE.parent.mkdir(exist_ok=True)
    _NOTE.write_text(_NO_PASSWORD)
    print(f"no password from the {source}")
    return 0
