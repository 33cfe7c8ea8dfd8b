# SPDX-License-Identifier: Apache-2.0
"""Check the options and report the versions when nova-compute starts.

oslo.config checks a value when it is read. Without this check, a value that is not
allowed would show up in the first rescue, or in a recovery after a crash.
"""

import importlib.metadata

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


def check_options() -> None:
    """Read every option of [stable_rescue] once.

    A number that is not allowed is logged and replaced by its default, because the host
    can work with that.

    :raises nova.exception.InvalidConfiguration: if another value is not allowed; the
        message names the options
    """
    problems = []
    for option in conf.OPTIONS:
        try:
            CONF.stable_rescue[option.dest]
        except ValueError as exc:
            if isinstance(option, cfg.IntOpt):
                LOG.error(
                    "[stable_rescue] %s: %s; using %s",
                    option.dest,
                    exc,
                    option.default,
                )
                CONF.set_override(option.dest, option.default, "stable_rescue")
            else:
                problems.append(f"[stable_rescue] {option.dest}: {exc}")
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
    release = versions.nova.partition(".")[0]
    if not release.isdecimal() or int(release) not in _NOVA_RELEASES:
        LOG.warning(
            "stable_rescue was tested with Nova %d to %d, not with Nova %s. Test a "
            "rescue and an unrescue before you rely on it",
            _NOVA_RELEASES[0],
            _NOVA_RELEASES[-1],
            versions.nova,
        )
    for name, version, oldest in (
        ("libvirt", versions.libvirt, _OLDEST_LIBVIRT),
        ("QEMU", versions.hypervisor, _OLDEST_QEMU),
    ):
        if version < oldest:
            LOG.warning(
                "stable_rescue was tested with %s %s and later, not with %s %s",
                name,
                _text(oldest),
                name,
                _text(version),
            )


def _text(version: nova_internals.Version) -> str:
    return ".".join(map(str, version))
