# SPDX-License-Identifier: Apache-2.0
"""Boot the built images under QEMU as a rescue does, and look at what they do."""

import dataclasses
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from elapsed import Clock

from rescue_images import ImageError, servers
from rescue_images.build import image_path
from rescue_images.machine import Machine

_FIRMWARE = Path("/usr/share/OVMF")
_CODE = {"uefi": "OVMF_CODE_4M.fd", "secure": "OVMF_CODE_4M.secboot.fd"}
_VARIABLES = {"uefi": "OVMF_VARS_4M.fd", "secure": "OVMF_VARS_4M.ms.fd"}


@dataclasses.dataclass(frozen=True)
class Case:
    """How a rescue is attached, and what else the server has.

    :ivar scene: what is done after the login
    """

    firmware: str
    machine: str
    bus: str
    scene: str = "look"

    @property
    def image_format(self) -> str:
        """Return which of the images is booted."""
        return "iso" if self.bus in ("ide", "sata") else "qcow2"


CASES = {
    "bios-usb": Case("bios", "pc", "usb", "repair"),
    "bios-virtio": Case("bios", "pc", "virtio", "twins"),
    "bios-scsi": Case("bios", "pc", "scsi"),
    "bios-cdrom": Case("bios", "pc", "ide"),
    "uefi-usb": Case("uefi", "q35", "usb"),
    "uefi-virtio": Case("uefi", "q35", "virtio"),
    "uefi-scsi": Case("uefi", "q35", "scsi"),
    "uefi-cdrom": Case("uefi", "q35", "sata"),
    "secure-usb": Case("secure", "q35", "usb"),
}
_RESCUE = {
    "usb": ["qemu-xhci", "usb-storage,drive=rescue,bootindex=1"],
    "virtio": ["virtio-blk-pci,drive=rescue,bootindex=1"],
    "scsi": ["virtio-scsi-pci,id=scsi", "scsi-hd,bus=scsi.0,drive=rescue,bootindex=1"],
    "ide": ["ide-cd,bus=ide.0,drive=rescue,bootindex=1"],
    "sata": ["ide-cd,bus=ide.0,drive=rescue,bootindex=1"],
}


def arguments(
    case: Case, disks: Sequence[Path], image: Path, folder: Path
) -> list[str]:
    """Return QEMU's arguments for a server in a rescue.

    :param disks: the server's disks; what is written to raw ones stays
    :param image: the rescue image; what is written to it is lost
    """
    is_secure = case.firmware == "secure"
    words = ["-machine", f"{case.machine},smm=on" if is_secure else case.machine]
    if case.firmware != "bios":
        variables = folder / "variables.fd"
        shutil.copyfile(_FIRMWARE / _VARIABLES[case.firmware], variables)
        code = _FIRMWARE / _CODE[case.firmware]
        words += ["-drive", f"if=pflash,format=raw,readonly=on,file={code}"]
        words += ["-drive", f"if=pflash,format=raw,file={variables}"]
    if is_secure:
        words += ["-global", "driver=cfi.pflash01,property=secure,value=on"]
    for number, disk in enumerate(disks):
        kind = "qcow2,snapshot=on" if disk.suffix == ".qcow2" else "raw"
        words += ["-drive", f"if=none,id=disk{number},file={disk},format={kind}"]
        words += ["-device", f"virtio-blk-pci,drive=disk{number},serial=volume{number}"]
    drive = folder / "config.iso"
    words += ["-drive", f"if=none,id=config,file={drive},format=raw,readonly=on"]
    words += ["-device", "ide-cd,bus=ide.1,drive=config"]
    is_cdrom = case.image_format == "iso"
    kind = "raw,readonly=on" if is_cdrom else "qcow2,snapshot=on"
    words += ["-drive", f"if=none,id=rescue,file={image},format={kind}"]
    for device in _RESCUE[case.bus]:
        words += ["-device", device]
    return words


def expect(condition: bool, what: str, text: str) -> None:
    """Check what a command printed.

    :raises ImageError: unless the condition holds
    """
    if not condition:
        raise ImageError(f"{what}:\n{text}")


def look(machine: Machine, greeting: str) -> None:
    """Check that the rescue system runs by itself and has touched nothing.

    :raises ImageError: if it has
    """
    expect("rescue-report" in greeting, "no greeting was printed", greeting)
    _, mounts = machine.run("findmnt -rno SOURCE | grep ^/dev/ | sort -u")
    own = machine.run("cat /run/rescue/device")[1].strip()
    allowed = {f"/dev/{own}", "/dev/loop0"}
    expect(set(mounts.split()) <= allowed, f"mounted besides {own}", mounts)
    for command in ("swapon --show", "dmsetup ls --target linear", "cat /proc/mdstat"):
        _, text = machine.run(f"{command} 2>/dev/null")
        active = [line for line in text.splitlines() if "No dev" not in line]
        is_idle = not active or all(
            line.startswith(("Personalities", "unused")) for line in active
        )
        expect(is_idle, f"{command} shows something active", text)
    machine.run("timeout 900 cloud-init status --wait")
    status, text = machine.run(f"ls {servers.USER_DATA_MARK}")
    expect(status != 0, "the server's user data was run", text)
    status, text = machine.run("grep -c ssh-ed25519 /root/.ssh/authorized_keys")
    expect(status == 0, "root has no SSH key of the server", text)


def repair(machine: Machine, greeting: str) -> None:
    """Check the report on a broken server, and repair it.

    :raises ImageError: if the report misses something, or the repair fails
    """
    look(machine, greeting)
    expect(servers.LABEL in greeting, "the greeting lacks the server's root", greeting)
    status, text = machine.run("rescue-report")
    expect(status == 1, "rescue-report found no problem", text)
    for words in (servers.GONE_UUID, servers.BROKEN_KERNEL, "boot sector", "password"):
        expect(words in text, f"rescue-report does not say {words}", text)
    _, mounts = machine.run("findmnt -rn /mnt/server")
    expect(not mounts, "rescue-report left the server mounted", mounts)
    status, text = machine.run("rescue-mount")
    expect(status == 0, "rescue-mount failed", text)
    command = "mount --make-private -o rw /dev/vda1"
    expect(command in text, "rescue-mount printed no command", text)
    fix = f"sed -i /{servers.GONE_UUID}/d /mnt/server/etc/fstab"
    expect(machine.run(fix)[0] == 0, "the server is not writable", "")
    status, text = machine.run("rescue-umount")
    expect(status == 0, "rescue-umount failed", text)
    _, text = machine.run("grep -l /mnt/server /proc/[0-9]*/mountinfo")
    expect(not text, "processes still have the server mounted", text)
    status, text = machine.run("rescue-report")
    expect(status == 1, "rescue-report fails after rescue-umount", text)
    expect(servers.GONE_UUID not in text, "the repair was lost", text)
    storage(machine)


#: Makes a root on btrfs in LUKS on LVM, and leaves everything inactive.
_STORAGE = """\
set -e
vgcreate vg0 /dev/vdb
lvcreate --yes --size 180m --name root vg0
echo secret | cryptsetup luksFormat --batch-mode --pbkdf pbkdf2 \
    --pbkdf-force-iterations 1000 /dev/vg0/root
echo secret | cryptsetup open /dev/vg0/root inner
mkfs.btrfs --quiet /dev/mapper/inner
mkdir -p /tmp/inner
mount /dev/mapper/inner /tmp/inner
btrfs subvolume create /tmp/inner/@
mkdir -p /tmp/inner/@/etc /tmp/inner/@/dev /tmp/inner/@/proc /tmp/inner/@/sys
echo "# none" >/tmp/inner/@/etc/fstab
umount /tmp/inner
cryptsetup close inner
vgchange --activate n vg0
udevadm trigger --action=add --settle
"""


def storage(machine: Machine) -> None:
    """Check rescue-mount with btrfs in LUKS on LVM.

    :raises ImageError: if udev activates the volume, or it is not mounted or released
    """
    script = _STORAGE.replace("\\\n", " ").replace("\n", "; ")
    status, text = machine.run(f"( {script} ) >/tmp/storage.log 2>&1")
    if status:
        text = machine.run("tail -5 /tmp/storage.log")[1]
    expect(status == 0, "LVM, LUKS and btrfs cannot be set up", text)
    _, text = machine.run("lvs --noheadings --options lv_active")
    expect("active" not in text.split(), "udev activated a volume", text)
    # Opened beforehand because cryptsetup asks on the terminal.
    opened = "echo secret | cryptsetup open /dev/vg0/root rescue-inner"
    status, text = machine.run(f"vgchange -ay vg0 && {opened}")
    expect(status == 0, "the volume cannot be opened", text)
    status, text = machine.run("rescue-mount /dev/mapper/rescue-inner")
    expect(status == 0, "rescue-mount failed with btrfs in LUKS on LVM", text)
    expect("subvol=@" in text, "rescue-mount did not find the subvolume", text)
    status, text = machine.run("rescue-umount")
    expect(status == 0, "rescue-umount failed with btrfs in LUKS on LVM", text)
    _, text = machine.run("dmsetup ls")
    expect("rescue-inner" not in text and "vg0" not in text, "left active", text)


def twins(machine: Machine, greeting: str) -> None:
    """Check a server with a copy of the rescue disk and two equal disks.

    :raises ImageError: if another disk than the rescue disk was booted, or no warning
        was printed
    """
    look(machine, greeting)
    own = machine.run("cat /run/rescue/device")[1].strip()
    expect(own == "vdd3", "the rescue disk is vdd, and what runs is", own)
    for words in (
        "/dev/vda3 has the partuuid",
        "runs from /dev/vdd nevertheless",
        f"have the same uuid {servers.ROOT_UUID}",
    ):
        expect(words in greeting, f"the greeting does not say {words!r}", greeting)
    status, text = machine.run("rescue-mount")
    expect(status == 1, "rescue-mount chose one of two equal roots", text)
    expect("name one of /dev/vdb1, /dev/vdc1" in text, "no choice is named", text)
    status, text = machine.run("rescue-mount /dev/vdc1")
    expect(status == 0, "rescue-mount /dev/vdc1 failed", text)
    _, text = machine.run("findmnt -no SOURCE /mnt/server")
    expect(text.strip() == "/dev/vdc1", "another disk was mounted", text)
    machine.run("rescue-umount")


_SCENES: dict[str, Callable[[Machine, str], None]] = {
    "look": look,
    "repair": repair,
    "twins": twins,
}


def check(out: Path, names: Sequence[str], clock: Clock) -> int:
    """Boot cases; return how many failed.

    :param out: the folder of a build; consoles are written to its folder check
    :raises ImageError: if there is no image, or a command is missing
    """
    folder = out / "check"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    log = folder / "disks.log"
    failed = 0
    servers.config_drive(folder, log)
    for name in names:
        case = CASES[name]
        image = image_path(out, case.image_format)
        if not image.exists():
            raise ImageError(f"{image} is missing: run tools/rescue-image build first")
        server = servers.broken_server(folder, log)
        disks = [server]
        if case.scene == "twins":
            equal = folder / "equal.raw"
            shutil.copyfile(server, equal)
            disks = [servers.grown_copy(image, folder, log), server, equal]
        elif case.scene == "repair":
            blank = folder / "blank.raw"
            with blank.open("wb") as stream:
                stream.truncate(256 * 1024**2)
            disks = [server, blank]
        clock.say(f"{name}: boot")
        try:
            words = arguments(case, disks, image, folder)
            with Machine(words, folder / f"{name}.log") as machine:
                greeting = machine.log_in(servers.PASSWORD)
                clock.say(f"{name}: logged in; {case.scene}")
                _SCENES[case.scene](machine, greeting)
                machine.type("poweroff")
                machine.wait()
        except ImageError as error:
            failed += 1
            clock.say(f"{name}: FAILED: {error}")
        else:
            clock.say(f"{name}: passed")
    clock.say(f"{len(names) - failed} of {len(names)} cases passed")
    return failed
