# SPDX-License-Identifier: Apache-2.0
"""What this process counts about rescues, for Prometheus.

The counters begin at zero when nova-compute starts, which Prometheus expects.
"""

import contextlib
import time
from collections.abc import Iterator

import prometheus_client
from prometheus_client import Counter, Gauge, Histogram

REGISTRY = prometheus_client.CollectorRegistry()

RESCUES = Counter(
    "stable_rescue_rescues",
    "Rescues that were begun, by kind and result; a failed one was rolled back",
    ("kind", "result"),
    registry=REGISTRY,
)
UNRESCUES = Counter(
    "stable_rescue_unrescues",
    "Unrescues, by the kind of the rescue and by result",
    ("kind", "result"),
    registry=REGISTRY,
)
REFUSALS = Counter(
    "stable_rescue_refusals",
    "Rescues that were refused before the guest was touched, by reason",
    ("reason",),
    registry=REGISTRY,
)
RECOVERIES = Counter(
    "stable_rescue_recoveries",
    "Recoveries of interrupted rescues, by what the server is afterwards",
    ("outcome",),
    registry=REGISTRY,
)
BOOTS = Counter(
    "stable_rescue_boots",
    "Starts of rescue systems, by what the firmware has booted",
    ("result",),
    registry=REGISTRY,
)
DOWNTIME = Histogram(
    "stable_rescue_downtime_seconds",
    "Time between the end of one guest and the start of the next, by what is started",
    ("started",),
    buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
    registry=REGISTRY,
)
RESCUED = Gauge(
    "stable_rescue_rescued_servers",
    "Servers of this host that are rescued",
    registry=REGISTRY,
)
UNRECOVERED = Gauge(
    "stable_rescue_unrecovered_servers",
    "Servers of this host whose rescue was interrupted and is not recovered yet",
    registry=REGISTRY,
)

# When the guests that are off because of a rescue ended, by instance UUID.
_off_since: dict[str, float] = {}


@contextlib.contextmanager
def counted(counter: Counter, is_stock: bool) -> Iterator[None]:
    """Count the block as one that succeeded or failed; errors propagate."""
    kind = "stock" if is_stock else "stable"
    try:
        yield
    except BaseException:
        counter.labels(kind, "failed").inc()
        raise
    counter.labels(kind, "succeeded").inc()


@contextlib.contextmanager
def failure_counted() -> Iterator[None]:
    """Count the block as a recovery that failed, if it does; errors propagate."""
    try:
        yield
    except BaseException:
        RECOVERIES.labels("failed").inc()
        raise


def guest_ended(uuid: str) -> None:
    """Note that a guest has just been shut down for a rescue, or for its end."""
    _off_since[uuid] = time.monotonic()


def guest_was_off(uuid: str) -> None:
    """Note that a guest was off already, so that its next start ends no downtime."""
    _off_since.pop(uuid, None)


def guest_started(uuid: str, is_rescue: bool) -> float | None:
    """Note that a guest has been started.

    :param is_rescue: the rescue system was started, not the server's own
    :returns: the seconds since :func:`guest_ended`; None if the guest was off before
    """
    since = _off_since.pop(uuid, None)
    if since is None:
        return None
    seconds = time.monotonic() - since
    DOWNTIME.labels("rescue" if is_rescue else "server").observe(seconds)
    return seconds


def write(path: str) -> None:
    """Replace a file by the metrics in Prometheus' text format, atomically.

    :raises OSError: if it cannot be written
    """
    prometheus_client.write_to_textfile(path, REGISTRY)
