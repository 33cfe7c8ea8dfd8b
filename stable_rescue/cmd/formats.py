# SPDX-License-Identifier: Apache-2.0
"""Rows as a table for people, or as JSON, YAML or CSV for programs."""

import csv
import datetime
import io
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from stable_rescue.cmd import table

Value = str | int | float | bool | None
#: Values by the name of their column. The name of a column of sizes ends with _bytes.
Row = Mapping[str, Value]

#: Counts up whenever a key of the JSON and YAML output is renamed or removed.
_SCHEMA_VERSION = 1
_BYTES = "_bytes"


def of_rows(format_: str, name: str, columns: Sequence[str], rows: list[Row]) -> str:
    """Return the rows in a format.

    :param format_: one of ``FORMATS``
    :param name: the key of the rows in JSON and YAML
    """
    return FORMATS[format_](name, columns, rows)


def of_content(format_: str, content: Mapping[str, Any]) -> str:
    """Return plain values as JSON or YAML."""
    text = {"json": _json, "yaml": _yaml}[format_]
    return text({"schema_version": _SCHEMA_VERSION, **content})


def text_of(column: str, value: Value) -> str:
    """Return a value for people; - stands for a value that is not known."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if column.endswith(_BYTES) and isinstance(value, int):
        return _size(value)
    return str(value)


def title_of(column: str) -> str:
    """Return the name of a column for people."""
    return column.removesuffix(_BYTES).replace("_", " ")


def time_of(time: datetime.datetime | None) -> str | None:
    """Return a time in UTC, without a zone, as text."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ") if time else None


def _size(count: int) -> str:
    """Return a number of bytes in the largest unit in which it is 1 or more."""
    size, unit = float(count), "bytes"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if size < 1024:
            break
        size, unit = size / 1024, larger
    return f"{count} bytes" if unit == "bytes" else f"{size:.1f} {unit}"


def _table(_name: str, columns: Sequence[str], rows: list[Row]) -> str:
    head = [title_of(column) for column in columns]
    texts = ([text_of(column, row[column]) for column in columns] for row in rows)
    return "\n".join(table.lines_of(head, texts, indent="")) + "\n"


def _csv(_name: str, columns: Sequence[str], rows: list[Row]) -> str:
    written = io.StringIO()
    writer = csv.DictWriter(written, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return written.getvalue()


def _json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _yaml(content: Mapping[str, Any]) -> str:
    # oslo.config needs PyYAML as well. The other formats and `plan` do without it.
    import yaml

    return str(yaml.safe_dump(content, sort_keys=False, allow_unicode=True))


FORMATS: dict[str, Callable[[str, Sequence[str], list[Row]], str]] = {
    "table": _table,
    "json": lambda name, _columns, rows: of_content("json", {name: rows}),
    "yaml": lambda name, _columns, rows: of_content("yaml", {name: rows}),
    "csv": _csv,
}
