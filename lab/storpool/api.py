# SPDX-License-Identifier: Apache-2.0
"""The part of StorPool's JSON API that Cinder's driver and os-brick call.

os_brick/initiator/storpool_utils.py makes these calls. The path of each may have
``MultiCluster/`` in it.
"""

from __future__ import annotations

import hmac
import json
import logging
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

from lab.storpool.array import Array, ArrayError

LOG = logging.getLogger(__name__)

PREFIX = "/ctrl/1.0/"
MAX_BODY = 1024**2  # bytes

Call = Callable[[Array, str, Any], Any]

READS: dict[str, Call] = {
    "DisksList": lambda array, name, body: array.disks(),
    # Without templates the driver has one pool, "default".
    "VolumeTemplatesList": lambda array, name, body: [],
    "VolumesList": lambda array, name, body: array.volumes(),
    "AttachmentsList": lambda array, name, body: array.attachments(),
    "Volume": lambda array, name, body: [array.volume(name)],
    "VolumeGetInfo": lambda array, name, body: array.volume(name),
}


def _reassign(array: Array, _name: str, body: Any) -> None:
    # os-brick sends {"reassign": [...]}, Cinder's delete_volume sends only the list.
    array.reassign(body["reassign"] if isinstance(body, dict) else body)


WRITES: dict[str, Call] = {
    "VolumeCreate": lambda array, name, body: array.create(body),
    "VolumeUpdate": lambda array, name, body: array.update(name, body),
    "VolumeDelete": lambda array, name, body: array.delete(name),
    "VolumeRevert": lambda array, name, body: array.revert(name, body["toSnapshot"]),
    "VolumeSnapshot": lambda array, name, body: array.snapshot(name, body["name"]),
    "VolumesReassign": _reassign,
    "VolumesReassignWait": _reassign,
    "SnapshotUpdate": lambda array, name, body: array.update_snapshot(name, body),
    "SnapshotDelete": lambda array, name, body: array.delete_snapshot(name),
}


class Server(ThreadingHTTPServer):
    """Serves ``array`` on 127.0.0.1 to clients that send ``token``."""

    daemon_threads = True

    def __init__(self, port: int, array: Array, token: str) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.array = array
        self.token = token


class Handler(BaseHTTPRequestHandler):
    """Answers a request with {"data": ...} or {"error": {"name", "descr"}}."""

    server: Server
    server_version = "StorPoolStandIn"
    timeout = 60  # seconds after which a silent client is disconnected

    def do_GET(self) -> None:
        self._answer(READS)

    def do_POST(self) -> None:
        self._answer(WRITES)

    def _answer(self, calls: dict[str, Call]) -> None:
        try:
            data = self._call(calls)
            answer: dict[str, Any] = {"data": {"ok": True} if data is None else data}
            status = HTTPStatus.OK
        except ArrayError as error:
            status = HTTPStatus.CONFLICT
            answer = {"error": {"name": error.name, "descr": error.description}}
        except Exception as error:
            LOG.exception("%s %s", self.command, self.path)
            status = HTTPStatus.INTERNAL_SERVER_ERROR
            answer = {"error": {"name": "internalError", "descr": repr(error)}}
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _call(self, calls: dict[str, Call]) -> Any:
        given = self.headers.get("Authorization", "")
        if not hmac.compare_digest(given, f"Storpool v1:{self.server.token}"):
            raise ArrayError("authenticationFailed", "the token is wrong")
        path = unquote(urlsplit(self.path).path)
        if not path.startswith(PREFIX):
            raise ArrayError("invalidParam", f"{path} does not begin with {PREFIX}")
        path = path.removeprefix(PREFIX).removeprefix("MultiCluster/")
        call, _, name = path.partition("/")
        if call not in calls:
            raise ArrayError("invalidParam", f"unknown {self.command} call {call}")
        try:
            return calls[call](self.server.array, name, self._body())
        except (KeyError, TypeError) as error:
            LOG.exception("%s %s", self.command, self.path)
            raise ArrayError("invalidParam", f"bad request: {error!r}") from error

    def _body(self) -> Any:
        length = int(self.headers.get("Content-Length") or 0)
        if length > MAX_BODY:
            raise ArrayError("invalidParam", "the request is too long")
        return json.loads(self.rfile.read(length)) if length else {}

    def log_message(self, format: str, *args: Any) -> None:
        """Log through the logging module instead of printing."""
        LOG.info(format, *args)
