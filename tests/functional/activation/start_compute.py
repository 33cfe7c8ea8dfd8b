# SPDX-License-Identifier: Apache-2.0

"""Run the real nova-compute up to serving, and report which classes it made.

A script, run by the interpreter of an installation under test: it knows neither this
test suite nor, by itself, stable_rescue.

    start_compute.py REPORT [--without-manager-table] -- NOVA_COMPUTE_ARGUMENT...

Nothing answers at the other end, so the wait for a conductor, the question for the
oldest compute service and the client of placement are left out, and the service is
not served.
"""

import functools
import importlib
import json
import sys
from pathlib import Path
from typing import Any
from unittest import mock

ALIAS = "nova.virt.stable_rescue"


def class_of(value: object) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


def describe_alias() -> dict[str, Any] | None:
    """Tell how the module of the driver looks, if it was imported."""
    module = sys.modules.get(ALIAS)
    if module is None:
        return None
    importlib.invalidate_caches()
    return {
        "file": module.__file__,
        "origin": module.__spec__.origin,
        "loader": class_of(module.__loader__),
        "reloaded": importlib.reload(module) is module,
        "driver": f"{module.StableRescueDriver.__module__}.StableRescueDriver",
    }


def describe_os_vif() -> dict[str, list[str]]:
    """Tell what os-vif says of its plugins to those who ask."""
    import os_vif

    return {
        plugin.plugin_name: [vif.vif_object_name for vif in plugin.vif_info]
        for plugin in os_vif.host_info().plugin_info
    }


def start_compute(without_manager_table: bool) -> dict[str, Any]:
    """Run nova.cmd.compute.main() and return what came of it."""
    # First, as it chooses between threads and eventlet for everything after it.
    compute = importlib.import_module("nova.cmd.compute")
    from nova import service

    create = service.Service.create
    early: list[str] = []
    if without_manager_table:
        create = functools.partial(
            create, manager=service.SERVICE_MANAGERS["nova-compute"]
        )
        del service.SERVICE_MANAGERS

    def note_modules_and_create(**kwargs: Any) -> service.Service:
        early.extend(sys.modules)
        return create(**kwargs)

    with (
        mock.patch.object(service.Service, "create", note_modules_and_create),
        mock.patch("nova.conductor.api.API.wait_until_ready"),
        mock.patch("nova.utils.raise_if_old_compute"),
        mock.patch("nova.scheduler.client.report.SchedulerReportClient._create_client"),
        mock.patch("nova.service.serve") as serve,
        mock.patch("nova.service.wait"),
    ):
        compute.main()

    (server,) = serve.call_args.args
    return {
        "manager": class_of(server.manager),
        "driver": class_of(server.manager.driver),
        "modules_before_service": early,
        "modules": list(sys.modules),
        "alias": describe_alias(),
        "nova": sys.modules["nova"].__file__,
        "stable_rescue": sys.modules["stable_rescue"].__file__,
        "os_vif": describe_os_vif(),
    }


def main() -> None:
    separator = sys.argv.index("--")
    report, *options = sys.argv[1:separator]
    sys.argv = ["nova-compute", *sys.argv[separator + 1 :]]
    result = start_compute("--without-manager-table" in options)
    Path(report).write_text(json.dumps(result))


if __name__ == "__main__":
    main()
