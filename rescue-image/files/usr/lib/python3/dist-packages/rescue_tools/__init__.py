# SPDX-License-Identifier: Apache-2.0
"""The commands of the rescue image: name, mount and examine the disks of a server."""

from pathlib import Path

#: Where rescue-mount mounts the server.
TARGET = Path("/mnt/server")
#: What the initramfs and the commands leave for one another.
STATE = Path("/run/rescue")


class RescueError(Exception):
    """What keeps a command from its work, in words for whoever typed it."""
