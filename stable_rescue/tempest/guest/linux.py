# SPDX-License-Identifier: Apache-2.0
"""Read the devices of an ordinary Linux guest, with commands that most images have.

The address of a disk is its name below /dev/disk/by-path, which has the PCI function,
port and unit. NICs and PCI functions have the addresses of the inventory module.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from stable_rescue.tempest.guest.inventory import Device, Inventory, address_of

#: Runs a command in the guest and returns its output.
Run = Callable[[str], str]

BOOT_ID = "cat /proc/sys/kernel/random/boot_id"
UPTIME = "cat /proc/uptime"
FIRMWARE = "if [ -d /sys/firmware/efi ]; then echo uefi; else echo bios; fi"
DISKS = (
    "lsblk --json --bytes --nodeps"
    " --output NAME,TYPE,SIZE,SERIAL,RO,RM,FSTYPE,LABEL,PTUUID"
)
#: Lists the device of the root file system and the devices below it; one is the disk.
ROOT = (
    "lsblk --json --list --inverse --output NAME,TYPE"
    " $(findmnt --noheadings --nofsroot --output SOURCE /)"
)
BY_PATH = "find /dev/disk/by-path -type l -printf '%f %l\\n'"
NICS = "ip -json link"
NIC_PATHS = "find /sys/class/net -type l -printf '%f %l\\n'"
FUNCTIONS = "lspci -Dnmm"
ADMIN_PASSWORD = (
    "sudo mkdir -p /run/config-2 && sudo mount -o ro LABEL=config-2 /run/config-2"
    " && sudo cat /run/config-2/openstack/latest/meta_data.json;"
    " sudo umount /run/config-2"
)
MARKER_SECTOR = 2047

_PARTITION = re.compile(r"-part\d+$")
_FUNCTION = re.compile(
    r"(?:0000:)?(?P<address>\S+) \"(?P<pci_class>\w+)\" \"(?P<vendor>\w+)\""
    r" \"(?P<device>\w+)\"(?: -\S+)* \"(?P<sub_vendor>\w*)\" \"(?P<sub_device>\w*)\""
)


def read(run: Run) -> Inventory:
    """Return the devices that a guest sees.

    :raises ValueError: if the output of a command cannot be parsed
    """
    disks = _disks(run(DISKS), run(BY_PATH))
    root = [entry["name"] for entry in _lsblk(run(ROOT)) if entry["type"] == "disk"]
    return Inventory(
        sequence=1,
        image="",
        build="",
        medium="",
        firmware=run(FIRMWARE).strip(),
        uptime=float(run(UPTIME).split()[0]),
        devices=(*disks, *_nics(run(NICS), run(NIC_PATHS)), *_pci(run(FUNCTIONS))),
        boot_facts={"root_disk": root[0] if len(root) == 1 else ""},
        boot_id=run(BOOT_ID).strip(),
    )


def admin_password(run: Run) -> str:
    """Return the adminPass of the config drive, or "" if there is none."""
    return str(json.loads(run(ADMIN_PASSWORD)).get("admin_pass", ""))


def write_marker(run: Run, disk: str, text: str) -> None:
    """Write a line to the last sector of a disk's first MiB, and sync it.

    :param text: 1 to 64 letters, digits, underscores and dashes
    :raises ValueError: if ``text`` is anything else
    """
    if not re.fullmatch(r"[\w-]{1,64}", text):
        raise ValueError(text)
    run(
        f"echo {text} | sudo dd of=/dev/{disk} bs=512 seek={MARKER_SECTOR}"
        " conv=sync,notrunc,fsync status=none"
    )


def read_marker(run: Run, disk: str) -> str:
    """Return the line that ``write_marker`` wrote to a disk."""
    return run(
        f"sudo dd if=/dev/{disk} bs=512 skip={MARKER_SECTOR} count=1 status=none"
        " | head -n 1"
    ).strip("\0\n ")


def _lsblk(text: str) -> list[dict[str, Any]]:
    devices: list[dict[str, Any]] = json.loads(text)["blockdevices"]
    return devices


def _disks(text: str, by_path: str) -> list[Device]:
    addresses = _addresses(by_path)
    return [
        Device(
            kind="disk",
            address=addresses.get(entry["name"], ""),
            name=entry["name"],
            size=int(entry["size"]),
            serial=(entry["serial"] or "").strip(),
            readonly=_true(entry["ro"]),
            removable=_true(entry["rm"]),
            content=entry["fstype"] or "",
            label=entry["label"] or "",
            signature=entry["ptuuid"] or "",
        )
        for entry in _lsblk(text)
        if entry["type"] in ("disk", "rom") and not entry["name"].startswith("zram")
    ]


def _addresses(by_path: str) -> dict[str, str]:
    """Return the name by path of each whole disk, by the kernel's name.

    If a disk has several names, choose the first in alphabetical order, so that every
    boot gives the same one.
    """
    addresses: dict[str, str] = {}
    for line in by_path.splitlines():
        path, _, target = line.partition(" ")
        name = target.rpartition("/")[2]
        if not _PARTITION.search(path):
            addresses[name] = min(addresses.get(name, path), path)
    return addresses


def _true(value: object) -> bool:
    """Return the value of a flag of lsblk, which old releases print as "0" or "1"."""
    return value in (True, "1")


def _nics(text: str, paths: str) -> list[Device]:
    targets = dict(line.split(" ", 1) for line in paths.splitlines())
    nics = []
    for entry in json.loads(text):
        path = targets.get(entry["ifname"], "").partition("/devices/")[2]
        if path and not path.startswith("virtual/"):
            nics.append(
                Device(
                    kind="nic",
                    address=address_of(path),
                    name=entry["ifname"],
                    mac=entry["address"],
                )
            )
    return nics


def _pci(text: str) -> list[Device]:
    functions = []
    for line in text.splitlines():
        match = _FUNCTION.match(line)
        if not match:
            raise ValueError(line)
        functions.append(
            Device(
                kind="pci",
                address=match["address"],
                ids=f"{match['vendor']}:{match['device']}",
                subsystem=f"{match['sub_vendor']}:{match['sub_device']}",
                pci_class=match["pci_class"],
            )
        )
    return functions
