# SPDX-License-Identifier: Apache-2.0
"""stable-rescue plan: show what a rescue would do to a server, or to a definition."""

import argparse
import difflib
import json
import sys
import uuid
from pathlib import Path
from typing import Any

from stable_rescue import exception, properties
from stable_rescue import plan as plans
from stable_rescue.cmd import on_host, table
from stable_rescue.cmd.exits import USAGE, CommandError, Output
from stable_rescue.domain import compare, complete, document, recognize
from stable_rescue.domain.medium import Medium
from stable_rescue.domain.overlays import Overlays

#: Counts up whenever a key of the JSON output is renamed or removed.
_SCHEMA_VERSION = 1
_MEDIUM = "/var/lib/nova/instances/{uuid}/disk.rescue"
# The options that only one kind of plan has, by attribute.
_OF_SERVER = {
    "image": "--image",
    "timeout": "--timeout",
    "security_info": "--security-info",
    "config_files": "--config-file",
    "config_dirs": "--config-dir",
}
_OF_DEFINITION = {
    "medium": "--medium",
    "medium_format": "--medium-format",
    "fallback_buses": "--fallback-bus",
    "allow_gaps": "--allow-gaps",
}


def add_parser(commands: Any) -> None:
    """Add this command to the commands of a parser."""
    parser = commands.add_parser(
        "plan",
        help="show what a rescue would do to a server or a definition",
        description="Show what a rescue would do. With SERVER, the running "
        "nova-compute of this host makes every check of a rescue that changes "
        "nothing. With --domain-xml, a definition alone is examined, without Nova, "
        "libvirt, configuration file or root. Exit status: 0 if there is a plan, 2 if "
        "the rescue would be refused, 1 if there is nothing to plan. The reason is on "
        "stderr.",
    )
    parser.add_argument(
        "server",
        metavar="SERVER",
        nargs="?",
        help="the UUID of a server on this host, or its name in libvirt",
    )
    parser.add_argument(
        "--image",
        metavar="ID",
        type=_image,
        help="with SERVER: the rescue image in Glance; without this option, the one "
        "that a rescue without an image uses",
    )
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=on_host.seconds,
        help="with SERVER: how long to wait for nova-compute's answer "
        f"({on_host.TIMEOUT})",
    )
    parser.add_argument(
        "--security-info",
        action="store_true",
        help="with SERVER: json and xml have the secrets of the definition",
    )
    on_host.add_configuration(parser)
    parser.add_argument(
        "--domain-xml",
        metavar="FILE",
        help="the definition, from virsh dumpxml; - reads stdin",
    )
    property_ = parser.add_argument(
        "--property",
        metavar="NAME=VALUE",
        dest="properties",
        type=_property,
        action="append",
        default=[],
        help="a property of the rescue image, such as hw_rescue_bus=usb; with SERVER, "
        "it replaces the property of the image",
    )
    # argcomplete reads this attribute.
    property_.completer = _complete_property
    parser.add_argument(
        "--medium",
        metavar="PATH",
        type=_path,
        help="with --domain-xml: the image file of the rescue disk on the compute host "
        f"({_MEDIUM})",
    )
    parser.add_argument(
        "--medium-format",
        choices=("raw", "qcow2"),
        help="with --domain-xml: the format of this file; use raw (the default) for an "
        "ISO image",
    )
    parser.add_argument(
        "--fallback-bus",
        dest="fallback_buses",
        choices=properties.BUSES,
        action="append",
        default=[],
        help="with --domain-xml: a bus to use if the first one has no room, like "
        "[stable_rescue] fallback_buses",
    )
    parser.add_argument(
        "--allow-gaps",
        action="store_true",
        help="with --domain-xml: use a place between the server's devices if there is "
        "none behind them, like [stable_rescue] allow_gaps",
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
    :raises CommandError: if the options do not fit together, or nova-compute has no
        plan of a server
    """
    _check_usage(options)
    if options.server is None:
        plan = _of_definition(options)
    else:
        plan = on_host.runner("server_plan")(options)
    return Output(_FORMATS[options.format](plan))


def _check_usage(options: argparse.Namespace) -> None:
    """Check that the options are all for a server, or all for a definition.

    :raises CommandError: if not
    """
    if (options.server is None) == (options.domain_xml is None):
        raise CommandError(USAGE, "plan needs either SERVER or --domain-xml FILE")
    kind, foreign = (
        ("--domain-xml", _OF_SERVER)
        if options.server is None
        else ("SERVER", _OF_DEFINITION)
    )
    for attribute, option in foreign.items():
        if getattr(options, attribute):
            raise CommandError(USAGE, f"{option} cannot be used with {kind}")


def _of_definition(options: argparse.Namespace) -> plans.RescuePlan:
    """Return the plan for a definition.

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
        dump=given.get("hw_rescue_memory") == "dump",
    )
    media = plans.RescueMedia(
        Medium.from_file(path, options.medium_format or "raw"),
        overlays=Overlays(str(Path(path).parent)),
    )
    return plans.derive(original, request, media)


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


def _image(text: str) -> str:
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not the ID of an image; openstack image show -c id has it"
        ) from None


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
