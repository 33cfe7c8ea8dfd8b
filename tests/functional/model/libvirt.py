# SPDX-License-Identifier: Apache-2.0
"""What the model needs of libvirt and Nova's fixture does not do."""

import copy
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import fixtures
from nova.tests.fixtures import libvirt
from nova.virt.libvirt import event as libvirt_event

from stable_rescue import steps

#: The calls that change a guest, with the names of the steps.
_CHANGES = {
    "Connection.defineXML": "libvirt defines",
    "Domain.createWithFlags": "libvirt starts",
    "Domain.destroy": "libvirt destroys",
    "Domain.shutdown": "libvirt shuts down",
}
#: The name that Nova's fixture gives to each tap device.
_TAP = re.compile(r"tap274487d1-6\d")
#: The source of a disk that is a volume: its device has the volume's ID as its name.
_VOLUME = re.compile(r"""<source (?:file|dev)=["'][^"']*/([-0-9a-f]{36})["']/>""")


class DomainIdFixture(fixtures.Fixture):
    """Makes Nova's libvirt fixture give a domain a new id at each start.

    Nova waits for a new id after a soft reboot.
    """

    def _setUp(self) -> None:
        create = libvirt.Domain.createWithFlags

        def create_with_id(domain: Any, flags: int) -> Any:
            domain._id = domain._connection._id_counter
            return create(domain, flags)

        self.useFixture(
            fixtures.MonkeyPatch(
                "nova.tests.fixtures.libvirt.Domain.createWithFlags", create_with_id
            )
        )


class DevicesFixture(fixtures.Fixture):
    """Attaches and detaches devices live, persistently or both, as libvirt does.

    A device that was detached from a running guest is reported by an event. Volumes
    have serials, which Nova's fixture drops.
    """

    def __init__(self, emit: Callable[[Any], None], tap: str) -> None:
        """:param emit: passes an event on to the driver
        :param tap: the name of the server's tap device, by which Nova finds the NIC
        """
        super().__init__()
        self._emit = emit
        self._tap = tap

    def _setUp(self) -> None:
        describe = libvirt.Domain.XMLDesc

        def describe_devices(domain: Any, flags: int) -> str:
            xml = _VOLUME.sub(r"\g<0><serial>\1</serial>", describe(domain, flags))
            return _TAP.sub(self._tap, xml)

        self.useFixture(
            fixtures.MonkeyPatch(
                "nova.tests.fixtures.libvirt.Domain.XMLDesc", describe_devices
            )
        )
        attach = libvirt.Domain.attachDevice
        detach = libvirt.Domain.detachDevice

        def attach_to(domain: Any, xml: str, flags: int) -> None:
            for _definition in _chosen(domain, flags):
                attach(domain, xml)

        def detach_from(domain: Any, xml: str, flags: int) -> None:
            before = _aliases(domain)
            for _definition in _chosen(domain, flags):
                detach(domain, xml)
            for alias in before - _aliases(domain):
                self._emit(libvirt_event.DeviceRemovedEvent(domain.UUIDString(), alias))

        for name, function in (("attach", attach_to), ("detach", detach_from)):
            self.useFixture(
                fixtures.MonkeyPatch(
                    f"nova.tests.fixtures.libvirt.Domain.{name}DeviceFlags", function
                )
            )


def _aliases(domain: Any) -> set[str]:
    devices = domain._def["devices"]
    return {device["alias"] for device in [*devices["disks"], *devices["nics"]]}


def _chosen(domain: Any, flags: int) -> Iterator[None]:
    """Make each definition that the flags name the domain's, one after the other."""
    live = domain._def
    inactive = getattr(domain, "_next", live)
    if not domain.isActive():
        yield
        domain._next = domain._def
        return
    if inactive is live:
        inactive = copy.deepcopy(live)
    domain._next = inactive
    try:
        if flags & libvirt.VIR_DOMAIN_AFFECT_CONFIG:
            domain._def = inactive
            yield
        if flags & libvirt.VIR_DOMAIN_AFFECT_LIVE:
            domain._def = live
            yield
    finally:
        domain._def = live


class ChangesFixture(fixtures.Fixture):
    """Makes calls of libvirt that change a guest places at which a fault can strike.

    Only while `observed` is entered: Nova's operations have no steps of stable rescue.
    """

    def _setUp(self) -> None:
        self._is_observed = False
        for name, step in _CHANGES.items():
            owner, _, method = name.partition(".")
            function = getattr(getattr(libvirt, owner), method)
            self.useFixture(
                fixtures.MonkeyPatch(
                    f"nova.tests.fixtures.libvirt.{name}", self._step(step, function)
                )
            )

    @contextmanager
    def observed(self) -> Iterator[None]:
        """Let faults strike at the calls that are made in the block."""
        self._is_observed = True
        try:
            yield
        finally:
            self._is_observed = False

    def _step(self, step: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            if not self._is_observed:
                return function(*args, **options)
            steps.observe(f"before {step}")
            result = function(*args, **options)
            steps.observe(f"after {step}")
            return result

        return call
