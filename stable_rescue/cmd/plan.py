# SPDX-License-Identifier: Apache-2.0
"""stable-rescue plan: show what a rescue would do to a definition."""

import argparse
import difflib
import json
import sys
from pathlib import Path
from typing import Any

from stable_rescue import exception, properties
from stable_rescue import plan as plans
from stable_rescue.cmd import table
from stable_rescue.cmd.exits import Output
from stable_rescue.domain import compare, complete, document, recognize
from stable_rescue.domain.medium import Medium
from stable_rescue.domain.overlays import Overlays

#: Counts up whenever a key of the JSON output is renamed or removed.
_SCHEMA_VERSION = 1
_MEDIUM = "/var/lib/nova/instances/{uuid}/disk.rescue"


def add_parser(commands: Any) -> None:
    """Add this command to the commands of a parser."""
    parser = commands.add_parser(
        "plan",
        help="show what a rescue would do to a definition",
        description="Show what a rescue would do to a definition. The command changes "
        "nothing, and needs no Nova, libvirt, configuration file or root. Exit status: "
        "0 if there is a plan, 2 if the rescue would be refused, 1 if the input is not "
        "a domain definition. The reason is on stderr.",
    )
    parser.add_argument(
        "--domain-xml",
        metavar="FILE",
        required=True,
        help="the definition, from virsh dumpxml; - reads stdin",
    )
    property_ = parser.add_argument(
        "--property",
        metavar="NAME=VALUE",
        dest="properties",
        type=_property,
        action="append",
        default=[],
        help="a property of the rescue image: hw_rescue_device or hw_rescue_bus",
    )
    # argcomplete reads this attribute.
    property_.completer = _complete_property
    parser.add_argument(
        "--medium",
        metavar="PATH",
        type=_path,
        help=f"the image file of the rescue disk on the compute host ({_MEDIUM})",
    )
    parser.add_argument(
        "--medium-format",
        choices=("raw", "qcow2"),
        default="raw",
        help="the format of this file; use raw (the default) for an ISO image",
    )
    parser.add_argument(
        "--fallback-bus",
        dest="fallback_buses",
        choices=properties.BUSES,
        action="append",
        default=[],
        help="a bus to use if the first one has no room, like [stable_rescue] "
        "fallback_buses",
    )
    parser.add_argument(
        "--allow-gaps",
        action="store_true",
        help="use a place between the server's devices if there is none behind them, "
        "like [stable_rescue] allow_gaps",
    )
    parser.add_argument(
        *("-f", "--format"),
        choices=_FORMATS,
        default="table",
        help="table (the default) for people, json for the whole plan, xml for the "
        "rescue definition alone",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> Output:
    """Return the plan for these options, in the format that they name.

    :raises Refused: if the rescue is not possible
    :raises InvalidDomain: if the input is not a domain
    """
    definition = _read(options.domain_xml)
    given = dict(options.properties)
    properties.check(given)
    for name in given.keys() - properties.ALLOWED.keys():
        print(f"stable-rescue: property {name} is ignored", file=sys.stderr)
    try:
        original = complete.parse(definition)
    except exception.InvalidDomain as exc:
        raise exception.InvalidDomain(f"{options.domain_xml}: {exc}") from exc
    path = options.medium or _MEDIUM.format(uuid=original.uuid)
    request = plans.RescueRequest(
        device=given.get("hw_rescue_device", "disk"),
        bus=given.get("hw_rescue_bus"),
        fallback_buses=tuple(options.fallback_buses),
        gaps=options.allow_gaps,
        quarantine=given.get("hw_rescue_network") == "quarantine",
        discard=given.get("hw_rescue_writes") == "discard",
    )
    media = plans.RescueMedia(
        Medium.from_file(path, options.medium_format),
        overlays=Overlays(str(Path(path).parent)),
    )
    plan = plans.derive(original, request, media)
    return Output(_FORMATS[options.format](plan))


def _complete_property(**_of_argcomplete: Any) -> list[str]:
    """Return every property with every value, for the completion of a shell."""
    return [
        f"{name}={value}"
        for name, values in properties.ALLOWED.items()
        for value in values
    ]


def _property(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    if name.startswith("hw_rescue_") and name not in properties.ALLOWED:
        near = difflib.get_close_matches(name, properties.ALLOWED, n=1, cutoff=0)
        raise argparse.ArgumentTypeError(
            f"there is no property {name}; did you mean {near[0]}?"
        )
    return name, value


def _path(text: str) -> str:
    """Return an absolute path, because libvirt accepts no other."""
    if not text or not text.isprintable():
        raise argparse.ArgumentTypeError(f"{text!r} is not a path that XML can hold")
    return str(Path(text).absolute())


def _read(name: str) -> str:
    """Return the text of a file or of stdin, up to the size limit of a definition.

    :raises InvalidDomain: if the file cannot be read or is not UTF-8
    """
    try:
        with Path("/dev/stdin" if name == "-" else name).open("rb") as source:
            return source.read(document.MAX_BYTES + 1).decode()
    except OSError as exc:
        raise exception.InvalidDomain(f"{name}: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise exception.InvalidDomain(f"{name}: not UTF-8: {exc.reason}") from exc


def _as_json(plan: plans.RescuePlan) -> str:
    content = {
        "schema_version": _SCHEMA_VERSION,
        **plan.to_dict(),
        "rescue_disk": _rescue_disk(plan),
        "comparison": _comparison(plan),
    }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _rescue_disk(plan: plans.RescuePlan) -> dict[str, str]:
    element = recognize.rescue_disk(plan.rescue)
    assert element is not None  # derive has checked it
    disk = compare.device_of(element)
    return {
        "device": plan.device,
        "bus": disk.bus,
        "target": disk.name,
        "address": disk.address,
        "source": disk.source,
    }


def _comparison(plan: plans.RescuePlan) -> dict[str, list[str]]:
    comparison = compare.compare(plan.original, plan.rescue)
    return {
        "moved": [str(change.device) for change in comparison.moved],
        "renamed": [str(change.device) for change in comparison.renamed],
        "vanished": [str(device) for device in comparison.vanished],
        "appeared": [str(device) for device in comparison.appeared],
        "changed": [str(change.device) for change in comparison.changed],
        "outside the devices": list(comparison.rest),
        "removed outside the devices": list(comparison.rest_removed),
    }


def _as_xml(plan: plans.RescuePlan) -> str:
    return plan.rescue.to_xml() + "\n"


_FORMATS = {"table": table.of_plan, "json": _as_json, "xml": _as_xml}
