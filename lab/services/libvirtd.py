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

#: The file that makes libvirt refuse to start a domain: its text, one line, is looked
#: for in the definition. So a start fails when a scene of the demo wants it to.
REFUSED_STARTS = "refused-starts"

#: libvirtd looks for it when it starts, and runs it before each start of a domain.
HOOK = """\
#!/bin/sh
definition=$(cat)
[ "$2" = prepare ] && [ -s "{file}" ] || exit 0
if printf %s "$definition" | grep -qFf "{file}"; then
    echo "the lab was asked to have this start fail" >&2
    exit 1
fi
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
        hook = HOOK.format(file=refused_starts(self.lab))
        self.run(["install", "-D", "/dev/stdin", "/etc/libvirt/hooks/qemu"], stdin=hook)
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


def refused_starts(lab: Lab) -> Path:
    """Return the file that tells which starts of domains are to fail."""
    return lab.data("libvirt") / REFUSED_STARTS


def _exists(lab: Lab, path: str) -> bool:
    root = lab.sandbox.proc.parent
    return (root / Path(path).relative_to("/")).exists()


SERVICES = (Virtlogd, Libvirtd)
