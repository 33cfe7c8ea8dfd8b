# SPDX-License-Identifier: Apache-2.0
"""The lab's virtlogd and libvirtd, at qemu:///system in the sandbox."""

from __future__ import annotations

from pathlib import Path

from lab import hypervisor
from lab.config import Lab
from lab.service import Service

URI = "qemu:///system"

#: Who QEMU runs as, and whether libvirt gives it the files of its disks: as Debian's
#: package has it.
QEMU_USER = """\
user = "libvirt-qemu"
group = "libvirt-qemu"
dynamic_ownership = 1
remember_owner = 1
"""

QEMU_AS_ROOT = """\
user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
"""

#: With these a domain starts in 0.3 s instead of 44 s (F30). With the filter, libvirt
#: asks QEMU for the features of the CPU at once instead of one by one: QEMU, which
#: reads each request byte by byte, takes 0.2 s of CPU time less at each start.
QEMU_CONF = """\
security_driver = "none"
cgroup_controllers = []
namespaces = []
capability_filters = [ "cpu-unavailable-features" ]
"""

#: The group has the right that Debian's polkit rule gives it.
LIBVIRTD_CONF = """\
auth_unix_ro = "none"
auth_unix_rw = "none"
unix_sock_group = "libvirt"
unix_sock_ro_perms = "0777"
unix_sock_rw_perms = "0770"
log_outputs = "3:stderr"
"""

#: While this file exists, libvirt refuses to start every domain whose definition
#: contains the file's text, which is one line. A scene of the demo uses it.
REFUSED_STARTS = "refused-starts"

#: libvirtd looks for this script when it starts, and runs it when a domain starts.
HOOK = """\
#!/bin/sh
definition=$(cat)
[ "$2" = prepare ] && [ -s "{file}" ] || exit 0
if printf %s "$definition" | grep -qFf "{file}"; then
    echo "the lab's libvirt hook refuses this domain, as a scene has asked" >&2
    exit 1
fi
"""


class Virtlogd(Service):
    """The daemon that writes the consoles of domains to files."""

    name = "virtlogd"

    def start(self) -> None:
        self.spawn([*hypervisor.enter(self.lab), "virtlogd"])

    def ready(self) -> bool:
        return self.running() and _exists(self.lab, "/run/libvirt/virtlogd-sock")


class Libvirtd(Service):
    """The libvirt daemon that nova-compute and the integration tests use."""

    name = "libvirtd"
    requires = ("virtlogd",)

    def start(self) -> None:
        if self.running():
            return
        # /etc is private to the sandbox, so these files are written from inside.
        user = QEMU_AS_ROOT if self.lab.options.as_root else QEMU_USER
        for name, text in (("qemu", user + QEMU_CONF), ("libvirtd", LIBVIRTD_CONF)):
            self.run(["tee", f"/etc/libvirt/{name}.conf"], stdin=text)
        if not self.lab.options.as_root:
            # The package's folder, which the sandbox replaces by an empty one.
            owner = ["--owner=libvirt-qemu", "--group=libvirt-qemu"]
            self.run(["install", "-d", "--mode=0750", *owner, "/var/lib/libvirt/qemu"])
        hook = HOOK.format(file=refused_starts(self.lab))
        self.run(["install", "-D", "/dev/stdin", "/etc/libvirt/hooks/qemu"], stdin=hook)
        # Remove the default network: it needs dnsmasq and firewall rules.
        self.run(["rm", "-rf", "/etc/libvirt/qemu/networks", "/etc/libvirt/nwfilter"])
        self.spawn([*hypervisor.enter(self.lab), "libvirtd"])

    def ready(self) -> bool:
        return self.running() and (
            self.lab.sandbox.run(
                ["virsh", "--connect", URI, "version"], check=False, seconds=30
            ).returncode
            == 0
        )

    def stop(self) -> None:
        """Destroy every domain and end the daemon."""
        if self.running():
            domains = self.run(["virsh", "--connect", URI, "list", "--name"])
            for domain in domains.split():
                self.run(["virsh", "--connect", URI, "destroy", domain])
        self.terminate()


def refused_starts(lab: Lab) -> Path:
    """Return the file that decides which domains fail to start; see HOOK."""
    return lab.data("libvirt") / REFUSED_STARTS


def _exists(lab: Lab, path: str) -> bool:
    root = lab.sandbox.proc.parent
    return (root / Path(path).relative_to("/")).exists()


SERVICES = (Virtlogd, Libvirtd)
