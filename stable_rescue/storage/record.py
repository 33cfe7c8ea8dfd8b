# SPDX-License-Identifier: Apache-2.0
"""The record of a rescue: one file in the instance's directory."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from stable_rescue import exception
from stable_rescue.plan import RescuePlan
from stable_rescue.storage import files

_RECORD = "stable_rescue.json"
# Where Nova keeps it, so that either driver can unrescue what the other rescued.
_UNRESCUE_XML = "unrescue.xml"
_FORMAT = 1

PREPARED = "prepared"
RESCUED = "rescued"


@dataclass(frozen=True)
class Record:
    """A rescue that is prepared or done.

    ``before`` and ``after`` are the server's own and the rescue definition, with
    their secrets: the file is readable by its owner alone.
    """

    state: str
    image_id: str
    image_checksum: str | None
    device: str
    bus: str
    before: str
    after: str

    @classmethod
    def of(cls, plan: RescuePlan, image: dict[str, Any]) -> Self:
        """Return the record of a plan whose medium is ready."""
        return cls(
            PREPARED,
            image["id"],
            image.get("checksum"),
            plan.device,
            plan.bus,
            plan.before,
            plan.after,
        )

    def rescued(self) -> Self:
        """Return the record of the same rescue, done."""
        return dataclasses.replace(self, state=RESCUED)


class Store:
    """The record and the saved definition of one instance."""

    def __init__(self, instance_dir: str) -> None:
        self._record = Path(instance_dir, _RECORD)
        self._unrescue_xml = Path(instance_dir, _UNRESCUE_XML)

    def load(self) -> Record | None:
        """Return the record, or None where there is none.

        :raises InvalidRecord: where the file cannot be understood
        """
        try:
            found = json.loads(self._record.read_text(encoding="utf-8"))
            if found.pop("format") != _FORMAT:
                raise ValueError("it was written by another version")
            return Record(**found)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as exc:
            raise exception.InvalidRecord(f"{self._record}: {exc}") from exc

    def save(self, record: Record) -> None:
        """Write the record.

        :raises OSError: where it cannot be written
        """
        content = {"format": _FORMAT, **dataclasses.asdict(record)}
        files.write(self._record, json.dumps(content, indent=1) + "\n")

    def save_original(self, definition: str) -> None:
        """Save the server's own definition; a plan takes no other (UPSTREAM U8).

        :raises OSError: where it cannot be written
        """
        files.write(self._unrescue_xml, definition)

    def original(self) -> str | None:
        """Return the saved definition, or None where there is none."""
        try:
            return self._unrescue_xml.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None

    def clear(self) -> None:
        """Remove both files; the record last, for it says that there is work left."""
        files.remove(self._unrescue_xml)
        files.remove(self._record)
