# SPDX-License-Identifier: Apache-2.0
"""The properties of a rescue image: Nova's ImageMetaProps with allowed values."""

from typing import Any, Self

from nova.objects import base, image_meta
from oslo_versionedobjects import fields

from stable_rescue import exception, properties


# Not registered, so that RPC messages keep using Nova's class.
@base.NovaObjectRegistry.register_if(False)
class RescueImageMetaProps(image_meta.ImageMetaProps):
    """The properties of a rescue image, with fields that reject other values.

    Nova's field for hw_rescue_bus allows every bus of Nova, such as lxc and xen.
    """

    VERSION = "1.0"
    OBJ_PROJECT_NAMESPACE = "stable_rescue"

    fields = dict(image_meta.ImageMetaProps.fields) | {
        name: fields.EnumField(valid_values=values)
        for name, values in properties.ALLOWED.items()
    }

    @classmethod
    def from_image(cls, image: dict[str, Any]) -> Self:
        """Return the properties of an image.

        :param image: the image as Nova's image API returns it
        :raises Refused: if a value is not allowed; the reason lists the allowed values
        """
        raw = image.get("properties") or {}
        properties.check(raw, f"rescue image {image['id']}")
        try:
            props: Self = cls.from_dict(raw)
        except ValueError as exc:
            raise exception.Refused(
                f"rescue image {image['id']} has a property that Nova rejects: {exc}"
            ) from exc
        return props

    @property
    def asks_for_stable(self) -> bool:
        """True if the image has one of the properties that choose a stable rescue."""
        return any(self.obj_attr_is_set(name) for name in properties.CHOOSING)
