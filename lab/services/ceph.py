# SPDX-License-Identifier: Apache-2.0
"""Ceph with one monitor, one manager and one OSD; RBD for Cinder and libvirt."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import ClassVar
from xml.sax.saxutils import escape

from lab.config import ADDRESS, PORTS
from lab.service import VolumeBackend, wait_until

#: The pools of Cinder's volumes, and of local disks with ``--images-type rbd``.
VOLUMES, DISKS = "volumes", "vms"
POOLS = (VOLUMES, DISKS)
PLACEMENT_GROUPS = 8
SIZE = 16 * 1024**3  # bytes of the OSD's sparse file

#: The user of Cinder, and of QEMU with libvirt's secret.
USER = "cinder"

CONF = "ceph.conf"
ADMIN_KEYRING = "ceph.client.admin.keyring"
USER_KEYRING = f"ceph.client.{USER}.keyring"

MGR_MODULES = Path("/usr/share/ceph/mgr")
#: The base modules, and those that a manager needs. With fewer the cluster reports an
#: error; with all of them the start takes ten seconds longer.
MGR_WANTED = (
    *("mgr_module.py", "mgr_util.py"),
    *("balancer", "crash", "devicehealth", "orchestrator", "pg_autoscaler"),
    *("progress", "rbd_support", "status", "telemetry", "volumes"),
)

_RBD = ", ".join(f"profile rbd pool={pool}" for pool in POOLS)
#: keyring: (entity, capabilities). The monitor gets all of them when it is created.
KEYS = {
    ADMIN_KEYRING: ("client.admin", {"mon": "allow *", "osd": "allow *",
                                     "mgr": "allow *"}),
    USER_KEYRING: (f"client.{USER}", {"mon": "profile rbd", "osd": _RBD, "mgr": _RBD}),
    "mgr/keyring": ("mgr.a", {"mon": "allow profile mgr", "osd": "allow *"}),
    "osd/keyring": ("osd.0", {"mon": "allow profile osd", "osd": "allow *",
                              "mgr": "allow profile osd"}),
}  # fmt: skip


class Ceph(VolumeBackend):
    """The smallest real cluster."""

    name = "ceph"
    volume_type: ClassVar[str] = "ceph"
    requires = ("libvirtd",)  # for the secret
    prepare_requires = ()
    processes = ("ceph-mon", "ceph-mgr", "ceph-osd")

    @property
    def data(self) -> Path:
        """The folder with the data of the daemons."""
        return self.lab.data("ceph")

    @property
    def secret_uuid(self) -> str:
        """The libvirt secret that holds the user's key."""
        return self._uuid("libvirt")

    # -- the steps ----------------------------------------------------------------

    def configure(self) -> None:
        self.render(
            "ceph.conf",
            self.lab.etc("ceph") / CONF,
            {
                "address": ADDRESS,
                "mon_port": str(PORTS["ceph_mon"]),
                "fsid": self._uuid("fsid"),
                "data": str(self.data),
                "size": str(SIZE),
            },
        )

    def prepare(self) -> None:
        """Make the keys and the data of the three daemons, which do not run yet."""
        for daemon in ("mon", "mgr", "osd", "crash", "mgr-modules"):
            self.lab.data(f"ceph/{daemon}")
        for module in MGR_WANTED:
            link = self.data / "mgr-modules" / module
            if not link.is_symlink():
                link.symlink_to(MGR_MODULES / module)
        keyring = self._make_keys()
        self._install()
        monmap = self.data / "monmap"
        mon = f"[v2:{ADDRESS}:3300,v1:{ADDRESS}:{PORTS['ceph_mon']}]"
        fsid = self._uuid("fsid")
        self.run(
            [
                *("monmaptool", "--create", "--clobber", "--fsid", fsid),
                *("--addv", "a", mon, str(monmap)),
            ]
        )
        self.run(
            [
                *("ceph-mon", "--id", "a", "--mkfs"),
                *("--monmap", str(monmap), "--keyring", str(keyring)),
            ]
        )
        self.run(
            [
                *("ceph-osd", "--id", "0", "--mkfs", "--no-mon-config"),
                *("--osd-uuid", self._uuid("osd")),
            ]
        )

    def start(self) -> None:
        self._install()
        self._daemon("mon")
        self._daemon("mgr")
        if not self.running("ceph-osd"):
            # Idempotent: the same uuid gets the same number.
            self._ceph("osd", "new", self._uuid("osd"), "0")
            self._daemon("osd")

    def ready(self) -> bool:
        if not all(self.running(process) for process in self.processes):
            return False
        completed = self.lab.sandbox.run(
            ["ceph", "--connect-timeout", "5", "status", "--format", "json"],
            check=False,
            seconds=30,
        )
        if completed.returncode:
            return False
        status = json.loads(completed.stdout)
        return bool(status["osdmap"]["num_up_osds"] and status["mgrmap"]["available"])

    def wait_ready(self) -> None:
        # Each check starts Python and a Ceph client. One per second leaves the CPU to
        # the other services.
        wait_until(
            "Ceph's OSD and manager to be up",
            self.ready,
            self.deadline,
            log=self.lab.log("ceph-mon"),
            interval=1.0,
        )

    def populate(self) -> None:
        for pool in POOLS:
            self._ceph("osd", "pool", "create", pool, str(PLACEMENT_GROUPS))
            self._ceph("osd", "pool", "application", "enable", pool, "rbd")
        self._define_secret()

    def stop(self) -> None:
        for process in reversed(self.processes):
            self.terminate(process)

    # -- for Cinder and Nova ------------------------------------------------------

    def cinder_backend_section(self) -> dict[str, str]:
        return {
            "volume_driver": "cinder.volume.drivers.rbd.RBDDriver",
            "rbd_ceph_conf": f"/etc/ceph/{CONF}",
            "rbd_pool": VOLUMES,
            "rbd_user": USER,
            "rbd_secret_uuid": self.secret_uuid,
            "rados_connect_timeout": "10",
            "report_dynamic_total_capacity": "false",
        }

    def nova_libvirt_options(self) -> dict[str, str]:
        return {
            "rbd_user": USER,
            "rbd_secret_uuid": self.secret_uuid,
            "images_rbd_pool": DISKS,
            "images_rbd_ceph_conf": f"/etc/ceph/{CONF}",
        }

    # -- internal -----------------------------------------------------------------

    def _uuid(self, what: str) -> str:
        return str(uuid.UUID(hex=self.lab.secret(f"ceph-{what}")))

    def _make_keys(self) -> Path:
        """Write a keyring for each user; return the monitor's keyring with all keys."""
        keyring = self.data / "mon.keyring"
        self._make_key(keyring, "mon.", {"mon": "allow *"})
        for name, (entity, capabilities) in KEYS.items():
            folder = self.data if "/" in name else self.lab.etc("ceph")
            self._make_key(folder / name, entity, capabilities)
            self.run(
                [
                    *("ceph-authtool", str(keyring)),
                    *("--import-keyring", str(folder / name)),
                ]
            )
        return keyring

    def _make_key(self, path: Path, entity: str, capabilities: dict[str, str]) -> None:
        words = [w for cap in capabilities.items() for w in ("--cap", *cap)]
        create = ["--create-keyring", "--gen-key", "--name", entity, *words]
        self.run(["ceph-authtool", str(path), *create])

    def _install(self) -> None:
        """Copy configuration and keys to the sandbox's private /etc.

        QEMU, Nova and Cinder read the first, the last two read the key of USER as well.
        """
        etc, target = self.lab.etc("ceph"), "/etc/ceph"
        self.run(["cp", "--archive", f"{etc}/.", target])
        self.run(["chmod", "0644", f"{target}/{CONF}"])
        if not self.lab.options.as_root:
            readers = ["--mode=0640", "--owner=cinder", "--group=nova"]
            self.run(["install", *readers, str(etc / USER_KEYRING), target])

    def _daemon(self, kind: str) -> None:
        identity = "0" if kind == "osd" else "a"
        self.spawn(
            [f"ceph-{kind}", "--foreground", "--id", identity], name=f"ceph-{kind}"
        )

    def _ceph(self, *arguments: str) -> str:
        return self.run(["ceph", "--connect-timeout", "30", *arguments], seconds=60)

    def _define_secret(self) -> None:
        """Give libvirtd the user's key in a file: others can read a command line."""
        keyring = self.lab.etc("ceph") / USER_KEYRING
        print_key = ["--print-key", "--name", f"client.{USER}"]
        key = self.run(["ceph-authtool", str(keyring), *print_key]).strip()
        key_file = self.write(self.data / "libvirt.key", key)
        xml = (
            "<secret ephemeral='no' private='no'>"
            f"<uuid>{self.secret_uuid}</uuid>"
            f"<usage type='ceph'><name>client.{escape(USER)} secret</name></usage>"
            "</secret>"
        )
        xml_file = self.write(self.data / "libvirt-secret.xml", xml)
        virsh = ["virsh", "--connect", "qemu:///system"]
        self.run([*virsh, "secret-define", str(xml_file)])
        self.run(
            [
                *(*virsh, "secret-set-value", self.secret_uuid),
                *("--file", str(key_file)),
            ]
        )


SERVICES = (Ceph,)
