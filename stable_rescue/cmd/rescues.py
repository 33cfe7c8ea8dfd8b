# SPDX-License-Identifier: Apache-2.0
"""The rescues of a compute host: which servers have one.

Rescues begin and end while they are read: files and domains may vanish at any moment.
"""

import functools
import sys
from collections.abc import Callable, Collection, Iterator
from typing import Any
from uuid import UUID

import libvirt
from nova import conf as nova_conf
from oslo_utils import uuidutils

from stable_rescue import nova_internals
from stable_rescue.cmd import reading
from stable_rescue.cmd.exits import NOT_FOUND, UNAVAILABLE, CommandError
from stable_rescue.cmd.reading import Rescue
from stable_rescue.storage import store

CONF = nova_conf.CONF

# How often the rescue of one server is read until its record stays the same.
_ATTEMPTS = 5
# How long a command waits for Nova's conductor, which it can do without, in seconds.
_CONDUCTOR_SECONDS = 10.0


def on_host(connection: Any) -> Iterator[Rescue]:
    """Yield the rescues of the servers of this host.

    Servers that libvirt does not have may be on other hosts that share instances_path.
    Nova's conductor is asked about those that have files of a rescue, and about no
    others. Errors of libvirt propagate.

    :raises OSError: if a file cannot be read
    """
    domains = domains_of(connection)
    for domain in domains:
        rescue = reading.of_domain(domain)
        if rescue is not None:
            yield rescue
    known = {domain.UUIDString() for domain in domains}
    yield from _without_domain(connection, known)


def domains_of(connection: Any) -> list[Any]:
    """Return the domains of this host. Errors of libvirt propagate."""
    either = (
        libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE
        | libvirt.VIR_CONNECT_LIST_DOMAINS_INACTIVE
    )
    return list(connection.listAllDomains(either))


def of_server(connection: Any, server: str) -> Rescue:
    """Return the rescue of a server, whose record did not change meanwhile.

    Errors of libvirt propagate.

    :param server: its UUID, or libvirt's name of it
    :raises CommandError: if there is no such server, or it has no rescue
    :raises OSError: if a file cannot be read
    """
    find = _finder(connection, server)
    earlier = find()
    for _attempt in range(_ATTEMPTS):
        rescue = find()
        if rescue is None:
            raise CommandError(
                NOT_FOUND, f"server {server} is not in a rescue on this host"
            )
        # The definition was read between two equal records, so it belongs to them.
        if earlier is not None and earlier.record == rescue.record:
            return rescue
        earlier = rescue
    raise CommandError(
        UNAVAILABLE, f"the rescue of server {server} is changing; try again"
    )


def _finder(connection: Any, server: str) -> Callable[[], Rescue | None]:
    """Return a function that reads the rescue of a server.

    :raises CommandError: if there is no such server
    """
    domain = find_domain(connection, server)
    if domain is not None:
        return functools.partial(reading.of_domain, domain)
    if uuidutils.is_uuid_like(server):
        uuid = str(UUID(server))
        if reading.has_files(uuid) and _of_this_host([uuid]):
            return functools.partial(reading.without_domain, uuid)
    raise _not_found(server)


def uuid_of(connection: Any, server: str) -> str:
    """Return the UUID of a server; libvirt is only asked about a name.

    Errors of libvirt propagate.

    :param server: its UUID, or libvirt's name of it
    :raises CommandError: if libvirt has no server with this name
    """
    if uuidutils.is_uuid_like(server):
        return str(UUID(server))
    domain = find_domain(connection, server)
    if domain is None:
        raise _not_found(server)
    return str(domain.UUIDString())


def find_domain(connection: Any, server: str) -> Any:
    """Return the domain of a server, or None if libvirt does not have it.

    Other errors of libvirt propagate.

    :param server: its UUID, or libvirt's name of it
    """
    is_uuid = uuidutils.is_uuid_like(server)
    find = connection.lookupByUUIDString if is_uuid else connection.lookupByName
    try:
        return find(server)
    except libvirt.libvirtError as exc:
        if exc.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            return None
        raise


def _not_found(server: str) -> CommandError:
    return CommandError(NOT_FOUND, f"libvirt has no server {server} on this host")


def _without_domain(connection: Any, known: Collection[str]) -> Iterator[Rescue]:
    """Yield the rescues of this host's servers that libvirt does not have.

    :param known: the UUIDs of the servers that libvirt has
    :raises OSError: if a file cannot be read
    """
    try:
        uuids = [each.name for each in store.instance_directories()]
    except FileNotFoundError:
        return  # no server was ever on this host
    candidates = [u for u in uuids if u not in known and reading.has_files(u)]
    for uuid in _of_this_host(candidates):
        domain = find_domain(connection, uuid)
        if domain is not None:
            rescue = reading.of_domain(domain)  # defined meanwhile
        else:
            rescue = reading.without_domain(uuid)
        if rescue is not None:
            yield rescue


def _of_this_host(uuids: list[str]) -> list[str]:
    """Return those UUIDs whose servers Nova has on this host.

    :returns: all of them if Nova's conductor does not answer, which is printed
    """
    if not uuids:
        return []
    try:
        nova_internals.connect_to_conductor()
        instances = nova_internals.instances_even_deleted(uuids, _CONDUCTOR_SECONDS)
    except Exception as exc:  # noqa: BLE001 - any message queue, any conductor
        print(
            f"stable-rescue: cannot ask Nova's conductor ({exc}); servers in the state "
            f"{reading.NO_DOMAIN} may be on other hosts",
            file=sys.stderr,
        )
        return uuids
    return [
        uuid
        for uuid, instance in instances.items()
        if not instance.deleted and instance.host == CONF.host
    ]
