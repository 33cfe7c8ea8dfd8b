# SPDX-License-Identifier: Apache-2.0
"""What a rescue image asks for: Nova's ImageMetaProps, extended."""

from typing import Any, Self

from nova.objects import base, image_meta
from oslo_versionedobjects import fields

from stable_rescue import exception, properties


# Not registered: what goes over RPC stays Nova's own class (DESIGN.md).
@base.NovaObjectRegistry.register_if(False)
class RescueImageMetaProps(image_meta.ImageMetaProps):
    """The properties of a rescue image, with the rescue's own in typed fields.

    Nova's hw_rescue_bus takes every bus that Nova knows, lxc and xen among them.
    """

    VERSION = "1.0"
    OBJ_PROJECT_NAMESPACE = "stable_rescue"

    fields = dict(image_meta.ImageMetaProps.fields) | {
        name: fields.EnumField(valid_values=values)
        for name, values in properties.ALLOWED.items()
    }

    @classmethod
    def from_image(cls, image: dict[str, Any]) -> Self:
        """Return the properties of an image as Nova's image API gives it.

        :raises Refused: where one has a value that it cannot have, naming those
            that it can
        """
        raw = image.get("properties") or {}
        properties.check(raw, f"rescue image {image['id']}")
        try:
            return cls.from_dict(raw)
        except ValueError as exc:
            raise exception.Refused(
                f"rescue image {image['id']} has a property that Nova refuses: {exc}"
            ) from exc

    @property
    def asks_for_stable(self) -> bool:
        """Whether the image has one of the properties of a stable rescue."""
        return any(self.obj_attr_is_set(name) for name in properties.ALLOWED)
