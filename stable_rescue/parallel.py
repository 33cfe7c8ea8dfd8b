# SPDX-License-Identifier: Apache-2.0
"""Do the same with several things at once."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from nova import context as nova_context

T = TypeVar("T")
R = TypeVar("R")


def for_each(
    context: nova_context.RequestContext,
    items: Sequence[T],
    action: Callable[[T], R],
    workers: int,
) -> list[R]:
    """Run an action for each item, and return the results in the items' order.

    None is started after an error, and those that run are waited for. The error of the
    first item that has one propagates.

    :param context: of the request; the threads log with its id
    :param workers: how many run at the same time
    """
    if not items:
        return []
    failed = False

    def run(item: T) -> list[R]:
        nonlocal failed
        if failed:
            return []
        try:
            return [action(item)]
        except BaseException:
            failed = True
            raise

    # oslo.log reads the request id from the thread's context store.
    with ThreadPoolExecutor(
        min(workers, len(items)), initializer=context.update_store
    ) as pool:
        return [result for results in pool.map(run, items) for result in results]
