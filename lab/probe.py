# SPDX-License-Identifier: Apache-2.0
"""``python -m lab.probe URL``: exit 0 if a web server answers without a server error.

Run this in the sandbox: its loopback cannot be reached from outside.
"""

from __future__ import annotations

import http.client
import sys
from urllib.parse import urlsplit

SECONDS = 20.0


def main(url: str) -> int:
    """Return 0 if ``url`` answers with a status below 500; 401 counts as alive."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=SECONDS)
    try:
        connection.request("GET", parts.path or "/")
        return 0 if connection.getresponse().status < 500 else 1
    except (OSError, http.client.HTTPException):
        return 1
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
