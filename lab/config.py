# SPDX-License-Identifier: Apache-2.0
"""One lab: its options, folders, ports, passwords and sandbox."""

from __future__ import annotations

import dataclasses
import json
import os
import secrets
import threading
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from lab.accounts import ACCOUNTS, Account
from lab.sandbox import REPOSITORY, Sandbox

#: The environment variable that names another state folder, for a second lab.
STATE_VARIABLE = "LAB_STATE"

#: The sandbox has its own loopback, so these ports never collide with the host's.
PORTS = {
    "keystone": 5000,
    "glance": 9292,
    "placement": 8778,
    "nova": 8774,
    "neutron": 9696,
    "cinder": 8776,
    "mariadb": 3306,
    "rabbitmq": 5672,
    "memcached": 11211,
    "ovsdb": 6640,
    "storpool": 8181,
    "ceph_mon": 6789,
}
ADDRESS = "127.0.0.1"
#: This file in a virtual environment says that it is complete, and for which packages.
ENVIRONMENT_MARKER = "lab-complete"
REGION = "lab"


@dataclass(frozen=True)
class Options:
    """The options of ``tools/lab up``."""

    driver: str = "stable_rescue.StableRescueDriver"
    nova: str = "34.0.0"
    network: bool = True
    backends: tuple[str, ...] = ("ceph", "storpool")
    images_type: str = "qcow2"  # Nova's [libvirt] images_type: qcow2, raw or rbd
    as_root: bool = False  # all processes, QEMU included, instead of users of their own
    hypervisor: str = ""  # a release of lab.hypervisor, or this machine's programs

    def __str__(self) -> str:
        hypervisor = f", hypervisor of Debian {self.hypervisor}"
        return (
            f"Nova {self.nova}, driver {self.driver}"
            f"{hypervisor if self.hypervisor else ''}"
        )

    @classmethod
    def load(cls, path: Path) -> Options | None:
        """Return what ``save`` wrote to ``path``, None if it is absent or damaged."""
        try:
            values = json.loads(path.read_text())
            return cls(**{**values, "backends": tuple(values["backends"])})
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def save(self, path: Path) -> None:
        """Write to ``path``."""
        path.write_text(json.dumps(dataclasses.asdict(self), indent=1) + "\n")


@dataclass
class Lab:
    """One lab: a state folder and everything that is derived from it.

    ``data``, ``etc`` and ``pid`` are removed when the lab goes down. Virtual
    environments, guest images and logs are kept.
    """

    state: Path
    options: Options = field(default_factory=Options)

    def __post_init__(self) -> None:
        self.state = self.state.resolve()
        self._lock = threading.Lock()

    @classmethod
    def default_state(cls) -> Path:
        """Return the state folder: ``$LAB_STATE``, or ``.lab`` in the repository."""
        return Path(os.environ.get(STATE_VARIABLE) or REPOSITORY / ".lab").absolute()

    @classmethod
    def open(cls, state: Path | None = None) -> Lab:
        """Return the lab of ``state``, with the options of its latest ``up``."""
        lab = cls(state or cls.default_state())
        lab.options = Options.load(lab.options_file) or Options()
        return lab

    # -- places -------------------------------------------------------------------

    @property
    def repository(self) -> Path:
        """The checkout that this code runs from."""
        return REPOSITORY

    @property
    def options_file(self) -> Path:
        return self.state / "options.json"

    @property
    def venv(self) -> Path:
        """The virtual environment with this release of OpenStack."""
        return self.state / f"venv-{self.options.nova}"

    @property
    def log_dir(self) -> Path:
        return self._folder("log")

    @property
    def pid_dir(self) -> Path:
        return self._folder("pid")

    @property
    def cache(self) -> Path:
        """The folder that is kept when the lab goes down: guest images, schemas."""
        return self._folder("cache")

    def data(self, name: str) -> Path:
        """Return the folder for the data of ``name``; create it, for root, if needed.

        OpenStackService.folder gives it to the user of a service.
        """
        return self._folder("data", *name.split("/"), mode=0o700)

    def etc(self, name: str) -> Path:
        """Return the configuration folder of ``name``; create it if it is missing."""
        return self._folder("etc", name)

    def bin(self, name: str) -> str:
        """Return the path of a command of the virtual environment."""
        return str(self.venv / "bin" / name)

    def log(self, name: str) -> Path:
        """Return the log file of the process ``name``."""
        return self.log_dir / f"{name}.log"

    def pid_file(self, name: str) -> Path:
        """Return the pid file of the process ``name``."""
        return self.pid_dir / f"{name}.pid"

    def account(self, name: str) -> Account | None:
        """Return the user that the services of a project run as, None if root."""
        return None if self.options.as_root else ACCOUNTS.get(name)

    def _folder(self, *names: str, mode: int = 0o755) -> Path:
        folder = self.state.joinpath(*names)
        folder.mkdir(parents=True, exist_ok=True, mode=mode)
        return folder

    # -- sandbox, passwords and URLs ----------------------------------------------

    @cached_property
    def sandbox(self) -> Sandbox:
        """The namespaces that everything of this lab runs in."""
        return Sandbox(self.state)

    def secret(self, name: str) -> str:
        """Return the password called ``name``; generate it at the first call."""
        path = self.state / "secrets.json"
        with self._lock:
            known: dict[str, str] = {}
            if path.exists():
                known = json.loads(path.read_text())
            if name not in known:
                known[name] = secrets.token_hex(16)
                temporary = path.with_suffix(".new")
                with open(temporary, "w", opener=private_opener) as file:
                    json.dump(known, file, indent=1)
                temporary.replace(path)
            return known[name]

    def url(self, name: str) -> str:
        """Return the root URL of the API ``name``, without a trailing slash."""
        return f"http://{ADDRESS}:{PORTS[name]}"

    def database(self, name: str) -> str:
        """Return the SQLAlchemy URL of the database ``name``."""
        password = self.secret("mariadb")
        return (
            f"mysql+pymysql://lab:{password}@{ADDRESS}:{PORTS['mariadb']}/{name}"
            "?charset=utf8mb4"
        )

    def transport(self) -> str:
        """Return the oslo.messaging URL."""
        password = self.secret("rabbitmq")
        return f"rabbit://lab:{password}@{ADDRESS}:{PORTS['rabbitmq']}/"

    def cloud(self, module: str, *arguments: str) -> str:
        """Run ``lab.cloud.MODULE`` in the sandbox; return what it printed.

        :raises LabError: with the traceback, if it fails
        """
        return self.sandbox.run(
            [
                self.bin("python"),
                "-m",
                f"lab.cloud.{module}",
                str(self.state),
                *arguments,
            ],
            cwd=self.state,
            env={**self.credentials(), "PYTHONPATH": str(self.repository)},
        ).stdout

    def credentials(self) -> dict[str, str]:
        """Return the OS_* variables of the administrator."""
        return {
            "OS_AUTH_URL": f"{self.url('keystone')}/v3",
            "OS_USERNAME": "admin",
            "OS_PASSWORD": self.secret("admin"),
            "OS_PROJECT_NAME": "admin",
            "OS_USER_DOMAIN_NAME": "Default",
            "OS_PROJECT_DOMAIN_NAME": "Default",
            "OS_REGION_NAME": REGION,
            "OS_IDENTITY_API_VERSION": "3",
        }


def private_opener(path: str, flags: int) -> int:
    """Open a file with mode 0600; an ``opener`` for the built-in ``open``."""
    return os.open(path, flags, 0o600)
