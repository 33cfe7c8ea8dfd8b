# SPDX-License-Identifier: Apache-2.0
"""The record of a rescue: everything that a restarted nova-compute has to know.

The manager imports this module before Nova loads a driver, so it must not import
nova.virt.libvirt.
"""

import dataclasses
import datetime
import enum
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from oslo_utils import timeutils

from stable_rescue import exception
from stable_rescue.domain import overlays
from stable_rescue.domain.document import Domain
from stable_rescue.plan import RescuePlan

_FORMAT = 2
# Format 3 has the key discards_writes. A release that does not know the key would lead
# the writes of such a rescue to the server's disks, so it must not read the record.
_FORMAT_WITH_OVERLAYS = 3
# Format 4 has the key memory_dump. A release that does not know the key would leave a
# guest paused whose memory was being dumped.
_FORMAT_WITH_DUMP = 4
# Format 1 had other names for the definitions, and "" for an unknown time.
_FORMAT_1_NAMES = {
    "before": "original_xml",
    "after": "rescue_xml",
    "defined": "defined_xml",
}


class State(enum.StrEnum):
    """The progress of a rescue.

    PREPARING, BEGINNING and ENDING are written before the steps that they name, the
    others once what they name is true.
    """

    #: The guest is untouched; libvirt may hold the rescue definition for a moment.
    PREPARING = "preparing"
    #: Everything is fetched and connected; the guest is untouched.
    PREPARED = "prepared"
    #: The rescue definition replaces the original one.
    BEGINNING = "beginning"
    #: The rescue system has been started.
    RESCUED = "rescued"
    #: The original definition replaces the rescue definition.
    ENDING = "ending"
    #: The server is restored and nothing else is left; Nova may not know yet.
    ENDED = "ended"


@dataclass(frozen=True)
class Record:
    """A rescue that is prepared, running or ended.

    The definitions contain their secrets, so only the file's owner may read it.
    ``original_xml`` is restored by unrescue, ``rescue_xml`` is what boots the rescue
    disk. ``defined_xml`` is what libvirt would have started next before the rescue:
    ``original_xml``, unless a running guest had diverged from it (F1).
    ``was_running`` says whether the guest ran before the rescue. ``launched_at`` is
    when Nova launched the server, ``rescued_at`` when the rescue system was started;
    both are in UTC.

    With ``is_stock``, Nova's driver defines the rescue. Until it has been started,
    ``rescue_xml`` is the original definition, and ``bus`` is always empty.

    With ``discards_writes``, the disks in ``rescue_xml`` have overlays (E8).
    ``memory_dump`` is the path for a dump of the server's memory; None if the rescue
    dumps nothing.
    """

    state: State
    image_id: str
    image_checksum: str | None
    device: str
    bus: str
    original_xml: str
    rescue_xml: str
    defined_xml: str
    was_running: bool
    launched_at: datetime.datetime | None = None
    rescued_at: datetime.datetime | None = None
    is_stock: bool = False
    discards_writes: bool = False
    memory_dump: str | None = None

    @classmethod
    def of(
        cls,
        plan: RescuePlan,
        image: dict[str, Any],
        was_running: bool,
        defined: Domain | None = None,
        launched_at: datetime.datetime | None = None,
        memory_dump: Path | None = None,
    ) -> Self:
        """Return the record of a plan that nothing has been done for yet.

        :param image: the rescue image, as Nova's image API returns it
        :param defined: what libvirt would start next, if it is not the original
        :param memory_dump: the path for a dump of the memory, if the rescue dumps it
        """
        return cls(
            State.PREPARING,
            image["id"],
            image.get("checksum"),
            plan.device,
            plan.bus,
            plan.original.to_xml(),
            plan.rescue.to_xml(),
            (defined or plan.original).to_xml(),
            was_running,
            launched_at,
            discards_writes=bool(overlays.targets(plan.rescue)),
            memory_dump=str(memory_dump) if memory_dump else None,
        )

    @classmethod
    def of_stock(
        cls,
        image: dict[str, Any],
        original: Domain,
        defined: Domain,
        was_running: bool,
        launched_at: datetime.datetime | None,
    ) -> Self:
        """Return the record of a stock rescue that nothing has been done for yet.

        :param image: the rescue image, as Nova's image API returns it
        :param defined: what libvirt would start next
        """
        return cls(
            State.PREPARING,
            image["id"],
            image.get("checksum"),
            "disk",
            "",
            original.to_xml(),
            original.to_xml(),
            defined.to_xml(),
            was_running,
            launched_at,
            is_stock=True,
        )

    @property
    def kind(self) -> str:
        """What the rescue is called in the log and by the commands."""
        if self.is_stock:
            return "stock rescue"
        kind = f"stable rescue with a {self.device} on {self.bus}"
        if self.discards_writes:
            kind = f"{kind}, discarding writes"
        return f"{kind}, with a memory dump" if self.memory_dump else kind

    def with_plan(self, plan: RescuePlan) -> Self:
        """Return the record of the same rescue with a newer plan."""
        return dataclasses.replace(
            self,
            device=plan.device,
            bus=plan.bus,
            original_xml=plan.original.to_xml(),
            rescue_xml=plan.rescue.to_xml(),
        )

    def at(self, state: State) -> Self:
        """Return the record of the same rescue in another state."""
        rescued_at = self.rescued_at
        if state is State.RESCUED:
            rescued_at = rescued_at or timeutils.utcnow()
        return dataclasses.replace(self, state=state, rescued_at=rescued_at)

    def to_json(self) -> str:
        """Return the content of the record's file."""
        content = {"format": _FORMAT, **dataclasses.asdict(self)}
        if self.discards_writes:
            content["format"] = _FORMAT_WITH_OVERLAYS
        else:
            del content["discards_writes"]
        if self.memory_dump is not None:
            content["format"] = _FORMAT_WITH_DUMP
        else:
            del content["memory_dump"]
        for name in ("launched_at", "rescued_at"):
            time = getattr(self, name)
            content[name] = time.isoformat() if time else None
        return json.dumps(content, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the record that a file holds.

        :raises InvalidRecord: if the text is not a record of a known format
        """
        try:
            content = json.loads(text)
            match content.pop("format"):
                case 1:
                    content = {_FORMAT_1_NAMES.get(k, k): v for k, v in content.items()}
                case 2 | 3 | 4:
                    pass
                case other:
                    raise ValueError(f"format {other!r} is not known")
            for name in ("launched_at", "rescued_at"):
                time = content.get(name)
                content[name] = datetime.datetime.fromisoformat(time) if time else None
            return cls(**{**content, "state": State(content["state"])})
        except (ValueError, TypeError, KeyError, AttributeError) as exc:
            raise exception.InvalidRecord(str(exc)) from exc
