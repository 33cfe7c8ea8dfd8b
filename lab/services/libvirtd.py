# SPDX-License-Identifier: Apache-2.0
"""virtlogd and libvirtd of the lab's own, at qemu:///system in the sandbox."""

from __future__ import annotations

import shutil
from pathlib import Path

from lab.config import Lab
from lab.errors import LabError
from lab.service import Service

URI = "qemu:///system"

#: LIBVIRT, "API facts": with these a domain starts in 0.3 s instead of 44 s.
QEMU_CONF = """\
user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
security_driver = "none"
cgroup_controllers = []
namespaces = []
"""

LIBVIRTD_CONF = """\
auth_unix_ro = "none"
auth_unix_rw = "none"
log_outputs = "3:stderr"
"""


class Virtlogd(Service):
    """Writes the consoles of domains to files."""

    name = "virtlogd"

    def start(self) -> None:
        self.spawn(["virtlogd"])

    def ready(self) -> bool:
        return self.running() and _exists(self.lab, "/run/libvirt/virtlogd-sock")


class Libvirtd(Service):
    """The daemon nova-compute, and integration tests, talk to."""

    name = "libvirtd"
    requires = ("virtlogd",)

    def start(self) -> None:
        if self.running():
            return
        # /etc is in the sandbox's memory, so write it from in there.
        for name, text in (("qemu", QEMU_CONF), ("libvirtd", LIBVIRTD_CONF)):
            self.run(["tee", f"/etc/libvirt/{name}.conf"], stdin=text)
        # No default network: it wants dnsmasq and firewall rules.
        self.run(["rm", "-rf", "/etc/libvirt/qemu/networks", "/etc/libvirt/nwfilter"])
        self.spawn(["libvirtd"])

    def ready(self) -> bool:
        return self.running() and (
            self.lab.sandbox.run(
                ["virsh", "--connect", URI, "version"], check=False, seconds=30
            ).returncode
            == 0
        )

    def stop(self) -> None:
        """End the daemon and every domain."""
        if self.running():
            domains = self.run(["virsh", "--connect", URI, "list", "--name"])
            for domain in domains.split():
                self.run(["virsh", "--connect", URI, "destroy", domain])
        self.terminate()


def start_alone(lab: Lab) -> None:
    """Start libvirtd in ``lab``'s running sandbox, for tests that need no more.

    Raises LabError if it does not come up.
    """
    if shutil.which("libvirtd") is None:
        raise LabError("No libvirtd here: apt-get install libvirt-daemon-system")
    for service in (Virtlogd(lab), Libvirtd(lab)):
        service.configure()
        service.start()
        service.wait_ready()


def _exists(lab: Lab, path: str) -> bool:
    root = lab.sandbox.proc.parent
    return (root / Path(path).relative_to("/")).exists()


SERVICES = (Virtlogd, Libvirtd)
