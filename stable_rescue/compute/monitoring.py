# SPDX-License-Identifier: Apache-2.0
"""The state of a host's rescues, for monitoring systems."""

from nova import conf as nova_conf
from nova import context as nova_context
from nova import objects
from nova.compute import vm_states
from oslo_log import log as logging

from stable_rescue import metrics
from stable_rescue.storage import reports

CONF = nova_conf.CONF
LOG = logging.getLogger(__name__)


def write_metrics(
    context: nova_context.RequestContext, host: str, unrecovered: int
) -> None:
    """Write the metrics of a host to ``metrics_file``, if it is set.

    An error is only logged. Errors of Nova's database propagate.

    :param unrecovered: the number of servers whose last recovery failed
    """
    path = CONF.stable_rescue.metrics_file
    if not path:
        return
    rescued = objects.InstanceList.get_by_filters(
        context,
        {"host": host, "vm_state": vm_states.RESCUED, "deleted": False},
        expected_attrs=[],
        use_slave=True,
    )
    metrics.RESCUED.set(len(rescued))
    metrics.UNRECOVERED.set(unrecovered)
    try:
        metrics.write(path)
    except OSError as exc:
        LOG.warning("Could not write [stable_rescue] metrics_file: %s", exc)


def remove_old_reports() -> None:
    """Remove the reports that are older than ``report_keep_days``.

    An error is only logged.
    """
    try:
        removed = reports.remove_old()
    except OSError as exc:
        LOG.warning("Could not remove old reports of rescues: %s", exc)
        return
    if removed:
        LOG.info("Removed %d old reports of rescues", removed)
