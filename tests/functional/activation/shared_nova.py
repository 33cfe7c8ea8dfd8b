# SPDX-License-Identifier: Apache-2.0

"""Nova, installed and compiled once for all layouts.

Layouts differ in how Nova and stable_rescue are installed. pip takes seconds to unpack
Nova's packages, and Python to compile them. Neither depends on stable_rescue, so each
way to install Nova is done once, in a folder below .tox/cache that later runs use too.
"""

import contextlib
import fcntl
import hashlib
import platform
import shutil
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.functional.activation.environments import (
    NOVA_VERSION,
    PROJECT,
    Environment,
)

#: Imports what nova-compute imports of Nova, so that it is compiled. The first module
#: chooses between threads and eventlet.
_IMPORTS = (
    "import nova.cmd.compute, nova.compute.manager, "
    "nova.virt.fake, nova.virt.libvirt.driver"
)
_CACHE = PROJECT / ".tox" / "cache" / "nova"


class SharedNova:
    """One way to install Nova.

    :param name: the name of its folder
    :param install: installs Nova into an environment
    """

    def __init__(self, name: str, install: Callable[[Environment], None]) -> None:
        self._install = install
        self.folder = _CACHE / f"{NOVA_VERSION}-{platform.python_version()}" / name

    def entries(self) -> list[Path]:
        """Return what the site directory of an environment with Nova has of Nova.

        :raises AssertionError: Nova cannot be installed or imported; the message has
            the output
        """
        built = self.folder / "built"
        with self._locked():
            if not built.exists() or built.read_text() != self._digest():
                shutil.rmtree(self.folder, ignore_errors=True)
                self.folder.mkdir()
                environment = Environment(self.folder)
                self._install(environment)
                environment.run_python("-c", _IMPORTS)
                built.write_text(self._digest())
        site = Environment.site_of(self.folder)
        return sorted(entry for entry in site.iterdir() if "nova" in entry.name.lower())

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep other processes from installing the same."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        with self.folder.with_suffix(".lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _digest(self) -> str:
        """Return a digest of what the folder depends on, besides Nova and Python."""
        folder = Path(__file__).parent
        names = ("environments.py", "shared_nova.py")
        # An editable install has the path of the source in it.
        parts = [str(self.folder), *((folder / name).read_text() for name in names)]
        return hashlib.sha256("".join(parts).encode()).hexdigest()


def _install_wheel(environment: Environment) -> None:
    environment.install(f"nova=={NOVA_VERSION}")


def _install_source(environment: Environment) -> None:
    """Install Nova's sdist as editable."""
    folder = environment.folder
    environment.pip(
        "download",
        "--no-deps",
        "--no-build-isolation",
        "--no-binary=nova",
        f"--dest={folder}",
        f"nova=={NOVA_VERSION}",
    )
    (archive,) = folder.glob("nova-*.tar.gz")
    with tarfile.open(archive) as sdist:
        # The Python of Debian 12 does not support filters yet.
        sdist.extractall(folder)
    source = folder / archive.name.removesuffix(".tar.gz")
    environment.install("-e", str(source))


FROM_WHEEL = SharedNova("wheel", _install_wheel)
FROM_SOURCE = SharedNova("source", _install_source)
