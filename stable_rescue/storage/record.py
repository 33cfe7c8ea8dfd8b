# SPDX-License-Identifier: Apache-2.0
"""The record of a rescue: one file in the instance's directory."""

import dataclasses
import enum
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from oslo_utils import timeutils

from stable_rescue import exception
from stable_rescue.plan import RescuePlan
from stable_rescue.storage import files

#: Its name there.
RECORD = "stable_rescue.json"
# Where Nova keeps it, so that either driver can unrescue what the other rescued.
_UNRESCUE_XML = "unrescue.xml"
_FORMAT = 1


class State(enum.StrEnum):
    """How far a rescue has come; each is written before the step that it names."""

    # the guest is as it was; libvirt may have the rescue definition for a moment
    PREPARING = "preparing"
    PREPARED = "prepared"  # everything is fetched; the guest is as it was
    BEGINNING = "beginning"  # the rescue definition takes the place of the server's
    RESCUED = "rescued"
    ENDING = "ending"  # the server's own definition is coming back
    ENDED = "ended"  # itself, and nothing else is left; Nova may not know yet


class Rest(enum.Enum):
    """Where a server has come to rest."""

    UNTOUCHED = enum.auto()  # the guest had not been touched yet
    ITSELF = enum.auto()
    RESCUED = enum.auto()


@dataclass(frozen=True)
class Record:
    """A rescue that is prepared, under way or done.

    ``before`` and ``after`` are the server's own and the rescue definition, with
    their secrets: the file is readable by its owner alone. ``defined`` is what
    libvirt would have started before the rescue: ``before``, unless a running guest
    had diverged from it. ``was_running`` is whether the guest ran before the rescue.
    ``launched_at`` and ``rescued_at`` are times of UTC: when Nova had launched the
    server, and when its rescue system was started.
    """

    state: State
    image_id: str
    image_checksum: str | None
    device: str
    bus: str
    before: str
    after: str
    defined: str
    was_running: bool
    launched_at: str = ""
    rescued_at: str = ""

    @classmethod
    def of(
        cls,
        plan: RescuePlan,
        image: dict[str, Any],
        was_running: bool,
        defined: str = "",
        launched_at: str = "",
    ) -> Self:
        """Return the record of a plan of which nothing is done yet."""
        return cls(
            State.PREPARING,
            image["id"],
            image.get("checksum"),
            plan.device,
            plan.bus,
            plan.original.to_xml(),
            plan.rescue.to_xml(),
            defined or plan.original.to_xml(),
            was_running,
            launched_at,
        )

    def of_plan(self, plan: RescuePlan) -> Self:
        """Return the record of the same rescue with a plan that was made anew."""
        return dataclasses.replace(
            self,
            device=plan.device,
            bus=plan.bus,
            before=plan.original.to_xml(),
            after=plan.rescue.to_xml(),
        )

    def at(self, state: State) -> Self:
        """Return the record of the same rescue in another state."""
        rescued_at = self.rescued_at
        if state is State.RESCUED:
            rescued_at = rescued_at or timeutils.utcnow().isoformat()
        return dataclasses.replace(self, state=state, rescued_at=rescued_at)


class Store:
    """The record and the saved definition of one instance."""

    def __init__(self, instance_dir: str) -> None:
        self._record = Path(instance_dir, RECORD)
        self._unrescue_xml = Path(instance_dir, _UNRESCUE_XML)

    def load(self) -> Record | None:
        """Return the record, or None where there is none.

        :raises InvalidRecord: where the file cannot be understood
        """
        try:
            found = json.loads(self._record.read_text(encoding="utf-8"))
            if found.pop("format") != _FORMAT:
                raise ValueError("it was written by another version")
            return Record(**{**found, "state": State(found["state"])})
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as exc:
            raise exception.InvalidRecord(f"{self._record}: {exc}") from exc

    def exists(self) -> bool:
        """Say whether there is a record, be it damaged."""
        return self._record.exists()

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
        # Not above: the manager imports this, and must not load a driver.
        from nova.virt.libvirt import utils as libvirt_utils

        try:
            return str(libvirt_utils.load_file(str(self._unrescue_xml)))
        except FileNotFoundError:
            return None

    def forget_original(self) -> None:
        """Remove the saved definition."""
        files.remove(self._unrescue_xml)

    def clear(self) -> None:
        """Remove both files; the record last, for it says that there is work left."""
        self.forget_original()
        self.forget()

    def forget(self) -> None:
        """Remove the record alone; a saved definition is then not of our making."""
        files.remove(self._record)
