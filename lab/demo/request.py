# SPDX-License-Identifier: Apache-2.0
"""What the command line asks a scene for, and how it gets into the sandbox."""

from __future__ import annotations

import dataclasses
import json

from lab.guest import GuestImages


@dataclasses.dataclass(frozen=True)
class Request:
    """One scene, with one case of it or all of them."""

    scene: str
    machine: str  # q35 or pc
    device: str  # hw_rescue_device of the rescue image
    bus: str  # hw_rescue_bus; "" for none, or for what the scene plays by default
    every_case: bool
    images: GuestImages

    def to_json(self) -> str:
        """Return what ``from_json`` reads."""
        return json.dumps(dataclasses.asdict(self), default=str)

    @classmethod
    def from_json(cls, text: str) -> Request:
        """Return the request that ``text`` was made from."""
        values = json.loads(text)
        return cls(**{**values, "images": GuestImages.of_paths(values["images"])})
