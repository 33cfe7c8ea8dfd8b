# SPDX-License-Identifier: Apache-2.0
"""stable-rescue plan: what a rescue would do to a definition, with nothing done."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from stable_rescue import exception, properties
from stable_rescue import plan as plans
from stable_rescue.cmd import table
from stable_rescue.domain import compare, complete, document
from stable_rescue.domain.medium import Medium

_MEDIUM = "/var/lib/nova/instances/{uuid}/disk.rescue"


def add_parser(commands: Any) -> None:
    """Add the command to those of a parser."""
    found = commands.add_parser(
        "plan",
        help="say what a rescue would do to a definition",
        description="Say what a rescue would do to a definition, without Nova, "
        "libvirt, configuration or root. Ends with 0; with 2 where the rescue is "
        "refused, and with 1 where the input is no domain: the reason is on stderr.",
    )
    found.add_argument(
        "--domain-xml",
        metavar="FILE",
        required=True,
        help="the definition, as virsh dumpxml gives it; - is stdin",
    )
    found.add_argument(
        "--property",
        metavar="NAME=VALUE",
        dest="properties",
        type=_property,
        action="append",
        default=[],
        help="a property of the rescue image: hw_rescue_device, hw_rescue_bus",
    )
    found.add_argument(
        "--medium",
        metavar="PATH",
        type=_path,
        help=f"the rescue disk's image file on the host ({_MEDIUM})",
    )
    found.add_argument(
        "--medium-format",
        choices=("raw", "qcow2"),
        default="raw",
        help="its format; raw (the default) also for what is no disk image, as ISO",
    )
    found.add_argument(
        "--fallback-bus",
        dest="fallback_buses",
        choices=properties.BUSES,
        action="append",
        default=[],
        help="a bus to take where the first has no room, as fallback_buses allows",
    )
    found.add_argument(
        "--allow-gaps",
        action="store_true",
        help="take a place between the server's own devices, as allow_gaps allows",
    )
    found.add_argument(
        "--format",
        choices=_FORMATS,
        default="table",
        help="table (the default) for people, json for all of the plan, "
        "xml for the rescue definition alone",
    )
    found.set_defaults(run=run)


def run(options: argparse.Namespace) -> str:
    """Return the plan that the options ask for, in the format they ask for.

    :raises Refused: where there is none, with the reason
    :raises InvalidDomain: where the input is no domain
    """
    definition = _read(options.domain_xml)
    given = dict(options.properties)
    properties.check(given)
    for name in given.keys() - properties.ALLOWED.keys():
        print(f"stable-rescue: {name} has no bearing on a plan", file=sys.stderr)
    original = complete.parse(definition)
    path = options.medium or _MEDIUM.format(uuid=original.uuid)
    request = plans.RescueRequest(
        device=given.get("hw_rescue_device", "disk"),
        bus=given.get("hw_rescue_bus"),
        fallback_buses=tuple(options.fallback_buses),
        gaps=options.allow_gaps,
    )
    media = plans.RescueMedia(Medium.from_file(path, options.medium_format))
    made = plans.derive(original, request, media)
    return _FORMATS[options.format](made)


def _property(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def _path(text: str) -> str:
    """Return an absolute path, the only kind that libvirt takes."""
    if not text or not text.isprintable():
        raise argparse.ArgumentTypeError(f"{text!r} is no path that XML can hold")
    return str(Path(text).absolute())


def _read(name: str) -> str:
    """Return the text of a file or of stdin, reading no more than a definition has.

    :raises InvalidDomain: where it cannot be read, or is not UTF-8
    """
    try:
        with Path("/dev/stdin" if name == "-" else name).open("rb") as source:
            return source.read(document.MAX_BYTES + 1).decode()
    except OSError as exc:
        raise exception.InvalidDomain(f"{name}: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise exception.InvalidDomain(f"{name}: not UTF-8: {exc.reason}") from exc


def _as_json(made: plans.RescuePlan) -> str:
    found = made.to_dict() | {"comparison": _compared(made)}
    return json.dumps(found, indent=2, ensure_ascii=False) + "\n"


def _compared(made: plans.RescuePlan) -> dict[str, list[str]]:
    found = compare.compare(made.original, made.rescue)
    return {
        "moved": [str(change.device) for change in found.moved],
        "renamed": [str(change.device) for change in found.renamed],
        "vanished": [str(device) for device in found.vanished],
        "appeared": [str(device) for device in found.appeared],
        "changed": [str(change.device) for change in found.changed],
        "outside the devices": list(found.rest),
    }


def _as_xml(made: plans.RescuePlan) -> str:
    return made.rescue.to_xml() + "\n"


_FORMATS = {"table": table.of_plan, "json": _as_json, "xml": _as_xml}
