# SPDX-License-Identifier: Apache-2.0
"""Open vSwitch in userspace, and Neutron's agent for it; left out by --no-network.

The kernel's datapath may be missing, so br-int is of type netdev: QEMU's taps are real
and in the guest, packets are switched in ovs-vswitchd.
"""

from __future__ import annotations

from lab.config import ADDRESS, PORTS
from lab.openstack import OpenStackService, listening
from lab.service import Service

SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
#: Where ovs-vsctl, which libvirt plugs a NIC with, looks.
SOCKET = "/run/openvswitch/db.sock"
BRIDGE = "br-int"
AGENT_CONF = "openvswitch_agent.ini"


class OvsDatabase(Service):
    """ovsdb-server with a database of the lab's own."""

    name = "ovsdb-server"
    requires = ()

    def prepare(self) -> None:
        database = self.lab.data("ovs") / "conf.db"
        if not database.exists():
            self.run(["ovsdb-tool", "create", str(database), SCHEMA])

    def start(self) -> None:
        self.spawn(
            [
                *("ovsdb-server", str(self.lab.data("ovs") / "conf.db")),
                f"--remote=punix:{SOCKET}",
                f"--remote=ptcp:{PORTS['ovsdb']}:{ADDRESS}",
                *("--pidfile", "--no-chdir"),
            ]
        )

    def ready(self) -> bool:
        return self.running() and listening(self.lab, PORTS["ovsdb"])


class OvsSwitch(Service):
    """ovs-vswitchd and the integration bridge."""

    name = "ovs-vswitchd"
    requires = ("ovsdb-server",)

    def start(self) -> None:
        self.run(["ovs-vsctl", "--no-wait", "init"])
        self.spawn(["ovs-vswitchd", f"unix:{SOCKET}", "--pidfile", "--no-chdir"])
        # Returns once the switch has done it: a bridge in the database alone is none.
        self.run(
            [
                *("ovs-vsctl", "--timeout=30", "--may-exist", "add-br", BRIDGE),
                *("--", "set", "Bridge", BRIDGE, "datapath_type=netdev"),
            ]
        )

    def ready(self) -> bool:
        if not self.running():
            return False
        asked = ["ovs-vsctl", "--timeout=10", "br-exists", BRIDGE]
        return self.lab.sandbox.run(asked, check=False).returncode == 0


class OvsAgent(OpenStackService):
    """neutron-openvswitch-agent: wires ports, so that they become ACTIVE."""

    name = "neutron-openvswitch-agent"
    project = "neutron"
    requires = ("ovs-vswitchd", "neutron-rpc", "neutron-api")

    def configure(self) -> None:
        values = self.values() | {
            "bridge": BRIDGE,
            "ovsdb_port": str(PORTS["ovsdb"]),
        }
        self.render(AGENT_CONF, self.lab.etc("neutron") / AGENT_CONF, values)

    def start(self) -> None:
        agent = self.lab.etc("neutron") / AGENT_CONF
        files = [*self.config_files(), "--config-file", str(agent)]
        self.daemon("neutron-openvswitch-agent", files)

    def ready(self) -> bool:
        """Return whether it has set up the bridge: its flows replace the default."""
        if not self.running():
            return False
        flows = self.lab.sandbox.run(
            ["ovs-ofctl", "--protocols=OpenFlow13", "dump-flows", BRIDGE, "table=60"],
            check=False,
            seconds=30,
        )
        return flows.returncode == 0 and "table=60" in flows.stdout


SERVICES = (OvsDatabase, OvsSwitch, OvsAgent)
