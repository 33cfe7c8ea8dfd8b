# SPDX-License-Identifier: Apache-2.0
"""The rescue's private copy of the UEFI variables, in the instance's directory (E6)."""

from pathlib import Path

import nova.privsep.path
from nova import objects
from nova.virt.libvirt import utils as libvirt_utils

from stable_rescue.domain import nvram
from stable_rescue.domain.document import Domain
from stable_rescue.domain.nvram import NvramCopy
from stable_rescue.storage import files

#: The name of the copy in the instance's directory.
NAME = "nvram.rescue"


def copy_for(instance: "objects.Instance", original: Domain) -> NvramCopy | None:
    """Return the copy that libvirt will make; None if there are no UEFI variables.

    :param original: the server's original definition
    :raises Refused: if the variables cannot be protected
    """
    path = nvram.original_of(original)
    if path is None:
        return None
    return NvramCopy(str(_path(instance)), _exists(Path(path)))


def remove(instance: "objects.Instance") -> None:
    """Remove the copy, because libvirt would use a stale one.

    A missing copy is no error.
    """
    files.remove(_path(instance))


def _path(instance: "objects.Instance") -> Path:
    return Path(libvirt_utils.get_instance_path(instance), NAME)


def _exists(path: Path) -> bool:
    """Return False if a file is missing; True if even root may not look.

    libvirt's folder is closed to the user of nova-compute. Nova's privileged helper
    reads the last 0 bytes of the file.
    """
    try:
        nova.privsep.path.last_bytes(str(path), 0)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return True
