# SPDX-License-Identifier: Apache-2.0
"""Run code as nova-compute runs: as a user with no rights but Nova's helper of root."""

import json
import os
import traceback
from collections.abc import Callable
from typing import Any

import nova.privsep
from oslo_privsep import priv_context

#: A user and a group without any file.
NOBODY = 65534


def result_of(function: Callable[[], Any]) -> Any:
    """Return what a function returns in a new process; the result must fit into JSON.

    The helper is forked while the process is still root, as sudo would start it.

    :raises AssertionError: if the function fails, with its traceback
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        process = os.getpid()
        answer: dict[str, Any] = {}
        try:
            nova.privsep.sys_admin_pctxt.start(priv_context.Method.FORK)
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            answer["result"] = function()
        except BaseException:  # noqa: BLE001 - the parent raises it
            if os.getpid() != process:
                os._exit(1)  # the helper, which has the pipe as well
            answer["failure"] = traceback.format_exc()
        with os.fdopen(writing, "w") as pipe:
            json.dump(answer, pipe)
        # This also ends the helper, which reads from a socket of this process.
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    answer = json.loads(text)
    if "failure" in answer:
        raise AssertionError(answer["failure"])
    return answer["result"]
