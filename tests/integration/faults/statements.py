# SPDX-License-Identifier: Apache-2.0
"""Compiles Nova's SQL statements before the processes of nova-compute are forked.

Each of these processes would compile them again, which is a quarter of its CPU time.
"""

from collections.abc import Callable
from typing import Any

from nova import context as nova_context
from nova import objects
from nova.compute import power_state, task_states, vm_states
from nova.db.main import models
from oslo_db.sqlalchemy import enginefacade
from oslo_utils import timeutils

# The statements of all engines are in one cache, which forked processes inherit.
import tests.functional  # noqa: F401


def compile_all(
    create_server: Callable[[Any], objects.Instance], loaded: list[str]
) -> None:
    """Do with a database in memory what a rescue does with Nova's database.

    :param create_server: creates a server in the database of a context
    :param loaded: the attributes that nova-compute loads of an instance
    """
    database = enginefacade.transaction_context()
    database.configure(connection="sqlite://")
    models.BASE.metadata.create_all(database.writer.get_engine())
    context = nova_context.get_admin_context()
    context.db_connection = database
    uuid = create_server(context).uuid
    for attributes in (loaded, ["flavor"], []):
        instance = objects.Instance.get_by_uuid(context, uuid, attributes)
        instance.refresh()
    objects.InstanceAction.action_start(context, uuid, "rescue")
    events, name = objects.InstanceActionEvent, "compute_rescue_instance"
    events.event_start(context, uuid, name)
    instance.task_state = task_states.RESCUING
    instance.save(expected_task_state=[None])
    instance.vm_state, instance.task_state = vm_states.RESCUED, None
    instance.power_state = power_state.SHUTDOWN
    instance.save(expected_task_state=task_states.RESCUING)
    instance.power_state, instance.launched_at = power_state.RUNNING, timeutils.utcnow()
    instance.save()
    events.event_finish(context, uuid, name)
    objects.InstanceList.get_by_host(context, instance.host, loaded)
    objects.BlockDeviceMappingList.get_by_instance_uuid(context, uuid)
