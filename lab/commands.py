# SPDX-License-Identifier: Apache-2.0
"""The commands of tools/lab that bring the lab up and down and use it."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import os
import shlex
import shutil
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lab import accounts, guest, hypervisor, loops, packages
from lab.clock import Clock
from lab.config import Lab, Options
from lab.errors import LabError
from lab.runner import Runner
from lab.service import Service
from lab.services import all_services

#: What is removed when the lab goes down; environments, images and logs are kept.
SCRATCH = ("data", "etc", "pid", "secrets.json", "options.json")

_LEFT = (
    "What runs is left for inspection. `tools/lab up` continues; `tools/lab down` first"
    " starts with empty databases."
)


@contextlib.contextmanager
def locked(lab: Lab) -> Iterator[None]:
    """Keep two commands from changing one lab at the same time.

    :raises LabError: if another command holds the lock
    """
    lab.state.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (lab.state / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise LabError(f"Another tools/lab is running in {lab.state}.") from None
        yield


def up(lab: Lab, options: Options) -> None:
    """Bring the lab up with these options; a second call changes nothing.

    If the lab is up, only the driver and the images type can change.

    :raises LabError: if a step fails; services that run are left for inspection
    """
    clock = Clock()
    with locked(lab):
        options = _as_root_if_needed(lab, options, clock.say)
        before = Options.load(lab.options_file) if lab.sandbox.running() else None
        if before is None:
            _wipe(lab)
        elif options != dataclasses.replace(
            before, driver=options.driver, images_type=options.images_type
        ):
            raise LabError(
                "The lab is up with other options for release, network, backends,"
                " users or hypervisor."
                " Run `tools/lab down` first."
            )
        if options.images_type == "rbd" and "ceph" not in options.backends:
            raise LabError("--images-type rbd needs ceph in --backends.")
        lab.options = options
        images = _prepare_machine(lab, clock.say)
        if not lab.sandbox.running():
            lab.sandbox.start()
            clock.say("namespaces created")
        if not options.as_root:
            folders = (lab.venv / "bin", lab.state / "etc", lab.state / "data")
            accounts.create(lab.sandbox, *folders)
        options.save(lab.options_file)
        services = all_services(lab)
        if before not in (None, options):
            clock.say(
                f"changing to {options.driver}, images_type {options.images_type}"
            )
            _named(services, "nova-compute").stop()
        try:
            Runner(lab, services, clock.say).run()
            _populate(lab, images, clock.say)
        except LabError as error:
            raise LabError(f"{error}\n{_LEFT}") from error
        clock.say(f"the lab is up: {options}")


def _as_root_if_needed(
    lab: Lab, options: Options, say: Callable[[str], None]
) -> Options:
    """Return options with which the services can reach their files.

    A folder such as /root keeps all other users out.
    """
    if options.as_root:
        return options
    # Passwords and data have modes of their own.
    lab.state.chmod(0o711)
    closed = accounts.closed_folder(lab.state, lab.repository)
    if closed is None:
        return options
    say(
        f"every service runs as root, because no other user can enter {closed};"
        " in a clone in another folder, each service has its own user"
    )
    return dataclasses.replace(options, as_root=True)


def down(lab: Lab) -> None:
    """End everything of the lab and check that nothing is left.

    :raises LabError: naming everything that is left
    """
    clock = Clock()
    with locked(lab):
        # This ends every process at once; no service has data worth a clean shutdown.
        lab.sandbox.stop()
        _wipe(lab)
        left = leftovers(lab)
        if left:
            raise LabError("The lab is down, but this is left:\n" + "\n".join(left))
        clock.say("the lab is down: no process, mount, loop device or namespace left")


def leftovers(lab: Lab) -> list[str]:
    """Return a line for each mount, loop device or process of the lab that is left."""
    prefix = f"{lab.state}/"
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    left = [f"mount {line.split()[4]}" for line in mounts if f" {prefix}" in line]
    left += [f"loop device {device}" for device in loops.backed_by(lab.state)]
    for process in Path("/proc").iterdir():
        if not process.name.isdigit() or int(process.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            # A process of the lab has its log open.
            logs = [str((process / "fd" / fd).readlink()) for fd in ("1", "2")]
            if any(log.startswith(f"{prefix}log/") for log in logs):
                left.append(f"process {process.name}")
    return left


def status(lab: Lab) -> bool:
    """Print a table of the services; return True if all of them are ready."""
    if not lab.sandbox.running():
        print(f"The lab in {lab.state} is down.")
        return False
    print(lab.options)
    services = all_services(lab)
    with ThreadPoolExecutor() as pool:
        states = list(pool.map(lambda service: service.ready(), services))
    print(f"{'service':<28}{'state':<8}log")
    for service, ready in zip(services, states, strict=True):
        log = lab.log(service.name)
        shown = str(log) if log.exists() else "-"
        print(f"{service.name:<28}{'ready' if ready else 'DOWN':<8}{shown}")
    return all(states)


def environment(lab: Lab) -> None:
    """Print what a shell needs to use the lab's OpenStack, for ``eval``.

    :raises LabError: if the lab is down, because its passwords are removed then
    """
    if not lab.sandbox.running():
        raise LabError("The lab is not running: start it with `tools/lab up`.")
    for name, value in lab.credentials().items():
        print(f"export {name}={shlex.quote(value)}")
    print(f"export PATH={shlex.quote(str(lab.venv / 'bin'))}:$PATH")
    launcher = lab.repository / "tools" / "lab"
    print("# Commands only reach the lab from inside, for example:")
    print(f"# {launcher} exec -- openstack server list")


def execute(lab: Lab, argv: Sequence[str]) -> int:
    """Run ``argv`` in the lab with the administrator's credentials.

    Return the exit status. Without ``argv`` run a shell.
    """
    path = f"{lab.venv / 'bin'}:{os.environ.get('PATH', '')}"
    command = list(argv) or [os.environ.get("SHELL", "/bin/bash")]
    return lab.sandbox.call(command, env={**lab.credentials(), "PATH": path})


def _wipe(lab: Lab) -> None:
    """Remove the data of a lab that is not running: each lab starts without data."""
    lab.sandbox.clean()
    for name in SCRATCH:
        path = lab.state / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _prepare_machine(lab: Lab, say: Callable[[str], None]) -> guest.GuestImages:
    """Install what is missing and build the guest images, in parallel."""
    missing = packages.missing_packages(lab.options)
    if missing:
        say(f"apt: installing {len(missing)} packages")
        packages.install_packages(missing, lab.log("apt"))
        say("apt: done")
    results: list[guest.GuestImages] = []
    errors: list[Exception] = []

    def build() -> None:
        try:
            results.append(guest.build(lab.cache / "guest", lab.cache))
        except Exception as error:  # noqa: BLE001 - the main thread raises it below
            errors.append(error)

    builder = threading.Thread(target=build)
    builder.start()
    try:
        release = lab.options.hypervisor
        if release and not hypervisor.is_complete(release):
            say(f"mmdebstrap: installing libvirt and QEMU of Debian {release}")
            hypervisor.make(release, lab.log("hypervisor"))
            say("mmdebstrap: done")
        if not packages.environment_complete(lab):
            say(f"pip: installing Nova {lab.options.nova} and the other services")
            packages.install_environment(lab, lab.log("pip"))
            say("pip: done")
    finally:
        builder.join()
    if errors:
        raise LabError(f"Cannot build the guest images: {errors[0]}") from errors[0]
    return results[0]


def _populate(lab: Lab, images: guest.GuestImages, say: Callable[[str], None]) -> None:
    """Create flavors, networks, volume types and images, once per build of images."""
    stamp = lab.data("stamps") / f"resources.{images.build}"
    if stamp.exists():
        return
    lab.cloud(
        "resources",
        f"lab-original=qcow2={images.original_qcow2}",
        f"lab-rescue=qcow2={images.rescue_qcow2}",
        f"lab-rescue-raw=raw={images.rescue_raw}",
        f"lab-rescue-iso=iso={images.rescue_iso}",
    )
    stamp.touch()
    say("flavors, networks, volume types and images created")


def _named(services: Sequence[Service], name: str) -> Service:
    return next(service for service in services if service.name == name)


def fail(error: LabError) -> int:
    """Print ``error`` for the user; return the exit status."""
    print(f"lab: {error}", file=sys.stderr)
    return 1
