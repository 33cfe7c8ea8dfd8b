# SPDX-License-Identifier: Apache-2.0
"""Memory dumps with Nova's libvirt fixture, which has none."""

from pathlib import Path
from typing import Any

import fixtures
from nova.tests.fixtures import libvirt

#: What a dump holds, after the number of its format.
CONTENT = b" memory"
_PAUSED_USER = 1
_MEMORY_ONLY = 16
_NO_JOB = [0] * 12


class MemoryFixture(fixtures.Fixture):
    """Lets guests be paused and dumped, as libvirt does.

    ``formats`` are the numbers of the formats that QEMU has, ``calls`` what was done
    with the guests. ``after_dump`` is called when a dump is written.
    """

    def _setUp(self) -> None:
        self.formats = {0, 1}
        self.calls: list[str] = []
        self.after_dump = lambda: None
        suspend, resume = libvirt.Domain.suspend, libvirt.Domain.resume
        shutdown, destroy = libvirt.Domain.shutdown, libvirt.Domain.destroy
        for name, function in (
            ("suspend", self._noting("pause", suspend)),
            ("resume", self._noting("resume", resume)),
            ("shutdown", self._noting("shut down", shutdown)),
            ("destroy", self._noting("destroy", destroy)),
            ("isActive", _is_active),
            ("state", _state),
            ("coreDumpWithFormat", self._dump),
        ):
            self.useFixture(
                fixtures.MonkeyPatch(
                    f"nova.tests.fixtures.libvirt.Domain.{name}", function
                )
            )

    def _noting(self, name: str, function: Any) -> Any:
        def noting(domain: Any) -> Any:
            self.calls.append(name)
            return function(domain)

        return noting

    @property
    def _dump(self) -> Any:
        def dump(domain: Any, to: str, dumpformat: int, flags: int = 0) -> int:
            assert (flags, domain.state()[0]) == (
                _MEMORY_ONLY,
                libvirt.VIR_DOMAIN_PAUSED,
            )
            assert Path(to).stat().st_mode & 0o777 == 0o600
            if dumpformat not in self.formats:
                raise libvirt.make_libvirtError(
                    libvirt.libvirtError,
                    "unsupported dumpformat",
                    error_code=libvirt.VIR_ERR_INVALID_ARG,
                )
            self.calls.append("dump")
            Path(to).write_bytes(b"%d" % dumpformat + CONTENT)
            self.after_dump()
            return 0

        return dump


def _state(domain: Any, _flags: int = 0) -> list[int]:
    is_paused = domain._state == libvirt.VIR_DOMAIN_PAUSED
    return [domain._state, _PAUSED_USER if is_paused else 0]


def _is_active(domain: Any) -> int:
    return int(domain._state in (libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_PAUSED))


class DumpingMixin:
    """Makes an image whose rescue dumps the memory; the operator allows it."""

    def make_server(self) -> None:
        self.memory = self.useFixture(MemoryFixture())
        self.dumps = Path(self.useFixture(fixtures.TempDir()).path)
        super().make_server()
        self.flags(memory_dump_path=str(self.dumps), group="stable_rescue")
        self.image = self.create_rescue_image(
            hw_rescue_bus="usb", hw_rescue_memory="dump"
        )

    def dump_files(self) -> list[str]:
        """Return the names of all files in the operator's folder."""
        return sorted(path.name for path in self.dumps.iterdir())

    def observed(self) -> dict[str, Any]:
        """Also observe incomplete dumps, and whether the guest is paused."""
        incomplete = [name for name in self.dump_files() if name.endswith(".new")]
        return super().observed() | {
            "incomplete dumps": incomplete,
            "state": self.domain().state(),
        }
