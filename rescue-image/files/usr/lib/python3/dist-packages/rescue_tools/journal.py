# SPDX-License-Identifier: Apache-2.0
"""What the server's journal says about its last boot."""

import json
from collections.abc import Iterator
from pathlib import Path

from rescue_tools.commands import Commands
from rescue_tools.findings import Finding, note, ok, problem

#: systemd logs this for each unit that failed to start (systemd.journal-fields).
_UNIT_FAILED = "be02cf6855d2428ba40df7e9d022f03d"
#: systemd logs this when the boot is complete.
_STARTED = "b07a249cd024414a82dd00cd181378ff"
_LINES = 12


def last_boot(root: Path, commands: Commands) -> Iterator[Finding]:
    """Yield whether the last boot of a mounted server was complete, and what failed."""
    folder = root / "var/log/journal"
    if not folder.is_dir() or not any(folder.iterdir()):
        yield note(
            "the server keeps no journal in /var/log/journal",
            "Look at /var/log/syslog or /var/log/messages of the server, and at the\n"
            "console: openstack console log show SERVER",
        )
        return
    text = commands.look(
        "journalctl", "--directory", str(folder), "--list-boots", "--output=json"
    )
    try:
        boot = json.loads(text)[-1]
    except (ValueError, IndexError):
        yield note("the server's journal has no boot that can be read")
        return
    query = ("journalctl", "--directory", str(folder), "--boot", boot["boot_id"])
    plain = ("--no-pager", "--quiet", "--output=cat")
    failed = commands.look(*query, *plain, f"MESSAGE_ID={_UNIT_FAILED}").splitlines()
    complete = commands.look(*query, *plain, f"MESSAGE_ID={_STARTED}").strip()
    errors = commands.look(
        *query, "--no-pager", "--quiet", "--output=short", "--priority=err"
    ).splitlines()
    start = commands.look(
        *query, "--no-pager", "--quiet", "--output=short-iso", "--lines=+1"
    )
    when = f" of {start.split()[0]}" if start.split() else ""
    failed = list(dict.fromkeys(failed))
    if failed:
        yield problem(
            f"in the last boot{when}, units failed", "\n".join(failed[-_LINES:])
        )
    if not complete:
        yield problem(f"the last boot{when} was not completed")
    elif not failed:
        yield ok(f"the last boot{when} was complete, and no unit failed")
    if errors:
        yield note("the last errors of that boot", "\n".join(errors[-_LINES:]))
