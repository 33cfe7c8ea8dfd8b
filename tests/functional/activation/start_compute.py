# SPDX-License-Identifier: Apache-2.0

"""Start the real nova-compute, and report which classes it has created.

    start_compute.py REPORT [--without-manager-table] -- NOVA_COMPUTE_ARGUMENT...

The interpreter of the layout under test runs this script, so the script imports
neither the test suite nor stable_rescue. There is no conductor, no placement and no
message bus: whatever needs them is patched, and the service does not serve.
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
    """Describe the driver's module nova.virt.stable_rescue, if it was imported."""
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
    """Return the VIF types of each plugin that os-vif reports."""
    import os_vif

    return {
        plugin.plugin_name: [vif.vif_object_name for vif in plugin.vif_info]
        for plugin in os_vif.host_info().plugin_info
    }


def start_compute(without_manager_table: bool) -> dict[str, Any]:
    """Run nova.cmd.compute.main() and return the report."""
    # Import this first, because it chooses between threads and eventlet.
    compute = importlib.import_module("nova.cmd.compute")
    from nova import service

    create = service.Service.create
    modules_before_service: list[str] = []
    if without_manager_table:
        create = functools.partial(
            create, manager=service.SERVICE_MANAGERS["nova-compute"]
        )
        del service.SERVICE_MANAGERS

    def note_modules_and_create(**kwargs: Any) -> service.Service:
        modules_before_service.extend(sys.modules)
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
        "modules_before_service": modules_before_service,
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
