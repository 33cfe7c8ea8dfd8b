# SPDX-License-Identifier: Apache-2.0
"""RabbitMQ, the message queue of the services."""

from __future__ import annotations

from lab.config import ADDRESS, PORTS
from lab.openstack import listening
from lab.service import Service

#: Not Debian's wrapper in /usr/sbin, which changes to the user rabbitmq.
SERVER = "/usr/lib/rabbitmq/bin/rabbitmq-server"


class RabbitMQ(Service):
    """The message queue."""

    name = "rabbitmq"
    deadline = 180

    def configure(self) -> None:
        folder = self.lab.etc(self.name)
        self.write(
            folder / "rabbitmq.conf",
            "default_user = lab\n"
            f"default_pass = {self.lab.secret('rabbitmq')}\n"
            f"listeners.tcp.default = {ADDRESS}:{PORTS['rabbitmq']}\n"
            "heartbeat = 60\n"
            "log.console = true\n"
            "log.console.level = info\n"
            "log.file = false\n",
        )
        self.write(folder / "plugins", "[].\n")

    def start(self) -> None:
        data, folder = self.lab.data(self.name), self.lab.etc(self.name)
        loopback = "{127,0,0,1}"
        self.spawn(
            [SERVER],
            env={
                "HOME": str(data),
                "RABBITMQ_NODENAME": "rabbit@localhost",
                "RABBITMQ_NODE_IP_ADDRESS": ADDRESS,
                "RABBITMQ_MNESIA_BASE": str(data),
                "RABBITMQ_LOG_BASE": str(self.lab.log_dir),
                "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
                "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                    f"-kernel inet_dist_use_interface {loopback} +S 2:2"
                ),
                "ERL_EPMD_ADDRESS": ADDRESS,
            },
        )

    def ready(self) -> bool:
        return self.running() and listening(self.lab, PORTS["rabbitmq"])


SERVICES = (RabbitMQ,)
