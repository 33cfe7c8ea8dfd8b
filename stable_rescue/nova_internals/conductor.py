# SPDX-License-Identifier: Apache-2.0
"""Questions to Nova's database from a process beside nova-compute."""

from __future__ import annotations

from collections.abc import Collection
from concurrent import futures

from nova import conf as nova_conf
from nova import context as nova_context
from nova import objects, rpc
from nova.conductor import rpcapi as conductor_rpcapi
from nova.objects import base as objects_base

from stable_rescue.workers import Workers

CONF = nova_conf.CONF

# The conductor gets this many UUIDs at once.
_CHUNK = 200
_workers = Workers(lambda: 1, "stable-rescue-conductor")


class NoAnswerError(Exception):
    """Nova's conductor does not answer in time."""


def connect_to_conductor() -> None:
    """Let Nova's objects ask the conductor of this cell, as in nova-compute.

    nova.conf names the message queue and its credentials. Errors of oslo.messaging
    propagate.
    """
    rpc.set_defaults(control_exchange="nova")
    rpc.init(CONF)
    objects.register_all()
    objects_base.NovaObject.indirection_api = conductor_rpcapi.ConductorAPI()


def instances_even_deleted(
    uuids: Collection[str], seconds: float | None = None
) -> dict[str, objects.Instance]:
    """Return those instances that Nova's database has, by UUID, with deleted ones.

    Errors of oslo.messaging and of the conductor propagate.

    :param seconds: how long to wait; by default, ``rpc_response_timeout``
    :raises NoAnswerError: if there is no answer in time
    """
    # Without a message queue, oslo.messaging would try to connect for ever.
    future = _workers.submit(lambda: _instances(sorted(uuids)))
    seconds = CONF.rpc_response_timeout if seconds is None else seconds
    try:
        return future.result(seconds)
    except futures.TimeoutError as exc:
        raise NoAnswerError(f"no answer within {seconds} seconds") from exc


def _instances(uuids: list[str]) -> dict[str, objects.Instance]:
    context = nova_context.get_admin_context(read_deleted="yes")
    known: dict[str, objects.Instance] = {}
    for start in range(0, len(uuids), _CHUNK):
        wanted = {"uuid": uuids[start : start + _CHUNK]}
        instances = objects.InstanceList.get_by_filters(context, wanted)
        known |= {instance.uuid: instance for instance in instances}
    return known
