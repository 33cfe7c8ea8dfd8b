# SPDX-License-Identifier: Apache-2.0
"""Check the options and report the versions when nova-compute starts.

oslo.config checks a value when it is read. Without this check, a value that is not
allowed would show up in the first rescue, or in a recovery after a crash.
"""

import importlib.metadata
from dataclasses import dataclass

from nova import conf as nova_conf
from nova import exception as nova_exception
from nova.virt.libvirt import driver as libvirt_driver
from oslo_config import cfg
from oslo_log import log as logging

from stable_rescue import conf, nova_internals

CONF = nova_conf.CONF
LOG = logging.getLogger(__name__)

#: The releases of Nova whose code was read and with which the tests run.
_NOVA_RELEASES = range(31, 35)
_OLDEST_LIBVIRT = (8, 0, 0)
_OLDEST_QEMU = (6, 2, 0)


@dataclass(frozen=True)
class WrongOption:
    """An option of [stable_rescue] whose value is not allowed.

    ``has_default`` is True if the host can work with the default of the option.
    """

    option: cfg.Opt
    problem: str
    has_default: bool

    def __str__(self) -> str:
        return f"[stable_rescue] {self.option.dest}: {self.problem}"


def wrong_options() -> list[WrongOption]:
    """Read every option of [stable_rescue]; return those that are not allowed."""
    wrong = []
    for option in conf.OPTIONS:
        try:
            CONF.stable_rescue[option.dest]
        except ValueError as exc:
            is_number = isinstance(option, cfg.IntOpt)
            wrong.append(WrongOption(option, str(exc), is_number))
    return wrong


def check_options() -> None:
    """Read every option of [stable_rescue] once.

    A number that is not allowed is logged and replaced by its default, because the host
    can work with that.

    :raises nova.exception.InvalidConfiguration: if another value is not allowed; the
        message names the options
    """
    wrong = wrong_options()
    for each in wrong:
        if each.has_default:
            LOG.error(
                "Wrong option %s; using its default, %s", each, each.option.default
            )
            CONF.set_override(each.option.dest, each.option.default, "stable_rescue")
    problems = [str(each) for each in wrong if not each.has_default]
    if problems:
        raise nova_exception.InvalidConfiguration("; ".join(problems))


def report(driver: libvirt_driver.LibvirtDriver) -> None:
    """Log what this host runs, and a warning for what the tests do not cover."""
    try:
        versions = nova_internals.versions_of(driver)
    except Exception:
        # A report must not keep nova-compute from starting.
        LOG.warning("Could not read the versions of this host", exc_info=True)
        return
    LOG.info(
        "stable_rescue %s with Nova %s, libvirt %s and %s %s; an image without rescue "
        "properties gets a %s rescue",
        importlib.metadata.version("stable-rescue"),
        versions.nova,
        _text(versions.libvirt),
        CONF.libvirt.virt_type,
        _text(versions.hypervisor),
        "stable" if CONF.stable_rescue.default_mode == "stable" else "stock",
    )
    for warning in (*untested_nova(versions.nova), *untested_host(versions)):
        LOG.warning("Not tested on this host: %s", warning)


def untested_nova(version: str) -> list[str]:
    """Return a warning if this release of Nova was not tested."""
    release = version.partition(".")[0]
    if release.isdecimal() and int(release) in _NOVA_RELEASES:
        return []
    return [
        f"stable_rescue was tested with Nova {_NOVA_RELEASES[0]} to "
        f"{_NOVA_RELEASES[-1]}, not with Nova {version}. Test a rescue and an unrescue "
        "before you rely on it"
    ]


def untested_host(versions: nova_internals.HostVersions) -> list[str]:
    """Return a warning for each version of libvirt and QEMU that was not tested."""
    return [
        f"stable_rescue was tested with {name} {_text(oldest)} and later, not with "
        f"{name} {_text(version)}"
        for name, version, oldest in (
            ("libvirt", versions.libvirt, _OLDEST_LIBVIRT),
            ("QEMU", versions.hypervisor, _OLDEST_QEMU),
        )
        if version < oldest
    ]


def _text(version: nova_internals.Version) -> str:
    return ".".join(map(str, version))
