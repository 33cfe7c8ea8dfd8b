# SPDX-License-Identifier: Apache-2.0
"""Run the stand-in: ``python3 -m lab.storpool --folder F --port N --token-file T``."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from pathlib import Path

from lab.storpool.api import Server
from lab.storpool.array import Array
from lab.storpool.client import Client

LOG = logging.getLogger("lab.storpool")


def main() -> int:
    """Serve until SIGTERM; the devices that guests use stay."""
    parser = argparse.ArgumentParser(prog="lab.storpool", description=__doc__)
    parser.add_argument(
        "--folder", type=Path, required=True, help="folder for the volumes"
    )
    parser.add_argument("--port", type=int, required=True, help="TCP port on 127.0.0.1")
    parser.add_argument(
        "--token-file", type=Path, required=True, help="file with the clients' token"
    )
    arguments = parser.parse_args()
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    array = Array(arguments.folder.resolve(), Client())
    token = arguments.token_file.read_text().strip()
    with Server(arguments.port, array, token) as server:
        LOG.info("serving on 127.0.0.1:%d", server.server_port)
        server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
