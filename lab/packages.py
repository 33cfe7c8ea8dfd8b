# SPDX-License-Identifier: Apache-2.0
"""Debian packages and the virtual environment: all that the lab downloads."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from lab import guest
from lab.config import ENVIRONMENT_MARKER, Lab, Options
from lab.errors import LabError

#: What the services need; lab.guest names what its images need.
APT_PACKAGES = (
    "libvirt-daemon-system",
    "libvirt-clients",
    "libvirt-dev",
    "qemu-system-x86",
    "qemu-utils",
    "qemu-block-extra",
    "ovmf",
    "genisoimage",
    "dosfstools",
    "swtpm",
    "swtpm-tools",
    "rabbitmq-server",
    "mariadb-server",
    "memcached",
    "ceph-mon",
    "ceph-osd",
    "ceph-mgr",
    "ceph-common",
    "python3-rbd",
    "python3-rados",
    "openvswitch-switch",
    "python3-dev",
    "python3-venv",
    "pkg-config",
    "gcc",
    "git",
    "conntrack",
    "iproute2",
    "procps",
    "sudo",
)

#: What lab.hypervisor needs.
HYPERVISOR_PACKAGES = ("mmdebstrap",)

#: From the first Nova that runs under uwsgi without wsgi scripts to the latest tested.
NOVA_RELEASES = range(31, 35)

#: Tested with Nova 34 and with every older release above. The APIs are stable, while
#: older services fail with today's libraries, such as glance 30 with the oslo.db that
#: pip chooses.
COMPANIONS = (
    "keystone==30.*",
    "glance==33.*",
    "openstack-placement==16.*",
    "cinder==29.*",
    "neutron==29.*",
    "python-openstackclient",
    "tempest==47.*",
    "os-testr",  # subunit2html
    "libvirt-python",
    "python-memcached",
    "pymysql",
    "uwsgi",
    "setuptools<81",
    "wheel",
)
#: These modules are not on PyPI: Debian's, built for the same Python, are used.
DEBIAN_MODULES = ("rados", "rbd")
DEBIAN_SITE = Path("/usr/lib/python3/dist-packages")
#: By default dpkg flushes every file to disk, which takes longer than the rest.
APT_OPTIONS = (
    "--yes",
    "--no-install-recommends",
    "--option=Dpkg::Options::=--force-unsafe-io",
)
POLICY = Path("/usr/sbin/policy-rc.d")


def missing_packages(options: Options) -> list[str]:
    """Return which of a lab's Debian packages are not installed."""
    wanted = sorted(
        {
            *APT_PACKAGES,
            *guest.APT_PACKAGES,
            *(HYPERVISOR_PACKAGES if options.hypervisor else ()),
        }
    )
    completed = subprocess.run(
        [
            "dpkg-query",
            "--show",
            "--showformat=${Package} ${db:Status-Status}\n",
            *wanted,
        ],
        capture_output=True,
        text=True,
        check=False,  # dpkg-query fails if it does not know one of the packages
    )
    installed = {
        line.split()[0]
        for line in completed.stdout.splitlines()
        if line.endswith(" installed")
    }
    return [package for package in wanted if package not in installed]


def install_packages(names: Sequence[str], log: Path) -> None:
    """Install Debian packages without starting any service.

    :raises LabError: with the end of apt's output, if that fails
    """
    if shutil.which("apt-get") is None:
        raise LabError(f"apt-get not found; install by hand: {' '.join(names)}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with _no_services_started():
        for command in (
            ["apt-get", "update"],
            ["apt-get", "install", *APT_OPTIONS, *names],
        ):
            hint = f"apt needs the network; all output is in {log}."
            run_logged(command, log, environment, hint)


@contextlib.contextmanager
def _no_services_started() -> Iterator[None]:
    """Keep packages from starting their services, by Debian's policy-rc.d."""
    before = POLICY.read_bytes() if POLICY.exists() else None
    mode = POLICY.stat().st_mode if before is not None else 0o755
    POLICY.write_text("#!/bin/sh\nexit 101\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        if before is None:
            POLICY.unlink(missing_ok=True)
        else:
            POLICY.write_bytes(before)
            POLICY.chmod(mode)


def requirements(nova: str) -> list[str]:
    """Return what pip installs for release ``nova`` of Nova.

    :raises LabError: if the lab does not support that release
    """
    major = nova.partition(".")[0]
    if not major.isdigit() or int(major) not in NOVA_RELEASES:
        known = f"{NOVA_RELEASES.start}.x to {NOVA_RELEASES.stop - 1}.x"
        raise LabError(f"Nova {nova} is not supported; use a release from {known}.")
    exact = f"nova=={nova}" if "." in nova else f"nova=={nova}.*"
    return [exact, *COMPANIONS]


def environment_complete(lab: Lab) -> bool:
    """Return True if the virtual environment has every package that it should have."""
    marker = lab.venv / ENVIRONMENT_MARKER
    return marker.exists() and marker.read_text() == _fingerprint(lab)


def install_environment(lab: Lab, log: Path) -> None:
    """Create the virtual environment and install OpenStack and this project in it.

    :raises LabError: with the end of pip's output, if that fails
    """
    wanted = requirements(lab.options.nova)
    python = str(lab.venv / "bin" / "python")
    if not (lab.venv / "bin" / "pip").exists():
        hint = "Python's venv module is missing: apt-get install python3-venv"
        run_logged([sys.executable, "-m", "venv", str(lab.venv)], log, None, hint)
    pip = [python, "-m", "pip", "--disable-pip-version-check", "install"]
    run_logged([*pip, "--upgrade", "pip", "wheel", "setuptools<81"], log, None)
    hint = f"pip needs a package index; all output is in {log}."
    run_logged(
        [*pip, *wanted, "--editable", f"{lab.repository}[nova,tempest]"],
        log,
        None,
        hint,
    )
    _link_debian_modules(lab)
    (lab.venv / ENVIRONMENT_MARKER).write_text(_fingerprint(lab))


def _fingerprint(lab: Lab) -> str:
    """Return a hash of everything that the environment's content depends on."""
    parts = requirements(lab.options.nova)
    for name in ("setup.cfg", "requirements.txt", "pyproject.toml"):
        file = lab.repository / name
        parts.append(file.read_text() if file.exists() else "")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _link_debian_modules(lab: Lab) -> None:
    """Link Debian's rbd and rados extensions if they are built for this Python."""
    version = f"{sys.version_info.major}{sys.version_info.minor}"
    site = next((lab.venv / "lib").glob("python3*")) / "site-packages"
    for module in DEBIAN_MODULES:
        for library in DEBIAN_SITE.glob(f"{module}.cpython-{version}-*.so"):
            link = site / library.name
            if not link.is_symlink():
                link.symlink_to(library)


def run_logged(
    argv: Sequence[str],
    log: Path,
    environment: dict[str, str] | None = None,
    hint: str = "",
) -> None:
    """Run ``argv`` with its output appended to ``log``.

    :raises LabError: with ``hint`` and the end of the log, if it fails
    """
    with log.open("a") as output:
        print(f"$ {' '.join(argv)}", file=output, flush=True)
        completed = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            check=False,
        )
    if completed.returncode:
        end = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
        raise LabError(
            f"{' '.join(argv[:4])} ... failed. {hint}\nThe end of {log}:\n{end}"
        )
