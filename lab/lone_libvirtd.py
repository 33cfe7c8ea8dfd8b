# SPDX-License-Identifier: Apache-2.0
"""A libvirtd without the rest of the lab, for the integration tests.

``python -m lab.lone_libvirtd STATE HYPERVISOR -- COMMAND ...`` starts virtlogd and
libvirtd, then becomes COMMAND. This runs in the sandbox whose files lie in STATE; the
command ``python -m lab.sandbox --libvirtd`` makes the sandbox and runs this in it.
HYPERVISOR is a release of lab.hypervisor, or empty.
An embedded libvirt would not do, because it has no LUKS secrets (F29).
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from lab.config import Lab, Options
from lab.errors import LabError
from lab.services.libvirtd import Libvirtd, Virtlogd

#: The exit status if COMMAND could not be run, the same as lab.sandbox's.
CANNOT_RUN = 125


def start(lab: Lab) -> None:
    """Start virtlogd and libvirtd in ``lab``'s running sandbox.

    :raises LabError: if libvirtd is not installed or does not become ready
    """
    if shutil.which("libvirtd") is None:
        raise LabError("libvirtd not found: apt-get install libvirt-daemon-system")
    for service in (Virtlogd(lab), Libvirtd(lab)):
        service.configure()
        service.start()
        service.wait_ready()


def main(words: Sequence[str]) -> int:
    """Start libvirtd and become the command; return only if that fails."""
    state, release, dashes, *command = words
    if dashes != "--" or not command:
        raise SystemExit(__doc__)
    try:
        # The tests are root, and look at what QEMU has written.
        start(Lab(Path(state), Options(as_root=True, hypervisor=release)))
        os.execvp(command[0], command)
    except (LabError, OSError) as error:
        print(f"lone libvirtd: {error}", file=sys.stderr)
    return CANNOT_RUN


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
