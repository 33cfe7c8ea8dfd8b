# SPDX-License-Identifier: Apache-2.0
"""Open vSwitch in userspace, and Neutron's agent for it; --no-network leaves them out.

The kernel may lack Open vSwitch's datapath, so br-int has the type netdev: QEMU uses
real tap devices, and ovs-vswitchd switches the packets itself.
"""

from __future__ import annotations

from lab.config import ADDRESS, PORTS
from lab.openstack import OpenStackService, listening
from lab.service import Service

SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
#: The default of ovs-vsctl, which libvirt runs to plug a NIC.
SOCKET = "/run/openvswitch/db.sock"
BRIDGE = "br-int"
AGENT_CONF = "openvswitch_agent.ini"


class OvsDatabase(Service):
    """ovsdb-server with the lab's database."""

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
        # ovs-vsctl returns when ovs-vswitchd has made the bridge, not only the record.
        self.run(
            [
                *("ovs-vsctl", "--timeout=30", "--may-exist", "add-br", BRIDGE),
                *("--", "set", "Bridge", BRIDGE, "datapath_type=netdev"),
            ]
        )

    def ready(self) -> bool:
        if not self.running():
            return False
        command = ["ovs-vsctl", "--timeout=10", "br-exists", BRIDGE]
        return self.lab.sandbox.run(command, check=False).returncode == 0


class OvsAgent(OpenStackService):
    """neutron-openvswitch-agent wires ports, so that they become ACTIVE."""

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
        """Return True if the agent's flows have replaced the default flow."""
        if not self.running():
            return False
        flows = self.lab.sandbox.run(
            ["ovs-ofctl", "--protocols=OpenFlow13", "dump-flows", BRIDGE, "table=60"],
            check=False,
            seconds=30,
        )
        return flows.returncode == 0 and "table=60" in flows.stdout


SERVICES = (OvsDatabase, OvsSwitch, OvsAgent)
