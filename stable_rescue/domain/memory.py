# SPDX-License-Identifier: Apache-2.0
"""The memory of a server, which a rescue with hw_rescue_memory=dump keeps."""

from stable_rescue import exception
from stable_rescue.domain.document import Domain

# The units of <memory>; libvirt itself writes KiB.
_UNITS = {
    "b": 1,
    "bytes": 1,
    "kb": 1000,
    "k": 1024,
    "kib": 1024,
    "mb": 1000**2,
    "m": 1024**2,
    "mib": 1024**2,
    "gb": 1000**3,
    "g": 1024**3,
    "gib": 1024**3,
    "tb": 1000**4,
    "t": 1024**4,
    "tib": 1024**4,
}


def size_of(domain: Domain) -> int:
    """Return the size of a server's memory in bytes.

    :raises InvalidDomain: if the definition names no size
    """
    element = domain.root.find("memory")
    try:
        assert element is not None
        return int(element.text or "") * _UNITS[element.get("unit", "KiB").lower()]
    except (AssertionError, KeyError, ValueError) as exc:
        raise exception.InvalidDomain("there is no size of the memory") from exc


def check(domain: Domain) -> None:
    """Check that a dump of the memory can be read (F38).

    :raises Refused: if the memory is encrypted
    """
    security = domain.root.find("launchSecurity")
    if security is not None:
        raise exception.Refused(
            f"the server's memory is encrypted ({security.get('type', 'unknown')}), so "
            "a dump of it cannot be read; use a rescue image without "
            "hw_rescue_memory=dump"
        )


def findings(domain: Domain) -> tuple[str, ...]:
    """Return what the owner of a server should know before its memory is dumped."""
    mebibytes = size_of(domain) // 1024**2
    return (
        f"the guest is paused while its {mebibytes} MiB of memory are written to the "
        "compute host, and is then powered off without a shutdown, as in a power "
        "failure",
    )
