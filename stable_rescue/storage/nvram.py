# SPDX-License-Identifier: Apache-2.0
"""The rescue's private copy of the UEFI variables, in the instance's directory."""

from pathlib import Path

from nova import objects
from nova.virt.libvirt import utils as libvirt_utils

from stable_rescue.domain import nvram
from stable_rescue.domain.document import Domain
from stable_rescue.domain.nvram import NvramCopy
from stable_rescue.storage import files

#: The copy, in the instance's directory.
NAME = "nvram.rescue"


def copy_for(instance: "objects.Instance", definition: str) -> NvramCopy | None:
    """Return where the copy is to be; libvirt makes it. None: no UEFI variables.

    :raises Refused: where the variables cannot be protected
    """
    original = nvram.original_of(Domain.parse(definition))
    if original is None:
        return None
    return NvramCopy(str(_path(instance)), _may_exist(Path(original)))


def remove(instance: "objects.Instance") -> None:
    """Remove the copy; a stale one would be used again. None there is no error."""
    files.remove(_path(instance))


def _path(instance: "objects.Instance") -> Path:
    return Path(libvirt_utils.get_instance_path(instance), NAME)


def _may_exist(path: Path) -> bool:
    """Say whether a file is there; one that cannot be seen is libvirt's, so it is."""
    try:
        path.stat()
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return True
