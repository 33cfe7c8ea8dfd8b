# SPDX-License-Identifier: Apache-2.0
"""What the command line requests of a scene, as JSON for the process in the sandbox."""

from __future__ import annotations

import dataclasses
import json

from lab.guest import GuestImages


@dataclasses.dataclass(frozen=True)
class Request:
    """One scene, and whether one or all of its cases are played."""

    scene: str
    machine: str  # q35 or pc
    firmware: str  # bios or uefi
    device: str  # hw_rescue_device of the rescue image
    bus: str  # hw_rescue_bus of the rescue image; "" for the scene's default
    every_case: bool
    images: GuestImages

    def to_json(self) -> str:
        """Return what ``from_json`` reads."""
        return json.dumps(dataclasses.asdict(self), default=str)

    @classmethod
    def from_json(cls, text: str) -> Request:
        """Return the request that ``to_json`` turned into ``text``."""
        values = json.loads(text)
        return cls(**{**values, "images": GuestImages.of_paths(values["images"])})
