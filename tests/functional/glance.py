# SPDX-License-Identifier: Apache-2.0
"""A Glance server on loopback for Nova's Glance client; it can be made to fail."""

import contextlib
import hashlib
import json
import random
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import fixtures
from keystoneauth1 import token_endpoint
from nova.image import glance

# The fields of an image in Glance's API; every other key is a property.
_FIELDS = (
    *("id", "name", "status", "visibility", "protected", "owner", "tags"),
    *("container_format", "disk_format", "size", "virtual_size"),
    *("checksum", "os_hash_algo", "os_hash_value", "min_ram", "min_disk"),
    *("created_at", "updated_at", "os_hidden", "file", "self", "schema"),
    *("direct_url", "locations"),
)
_SCHEMA = {
    "name": "image",
    "properties": {field: {} for field in _FIELDS},
    "additionalProperties": {"type": "string"},
}
#: The token of every user.
USERS_TOKEN = "token"
# Nova's fixture replaces these in every functional test.
_REAL = {
    name: getattr(glance, name)
    for name in ("get_remote_image_service", "get_default_image_service")
}


def private_address() -> str:
    """Return an address of this machine that nothing else uses."""
    numbers = [random.randint(1, 254) for _ in range(3)]
    return ".".join(map(str, [127, *numbers]))


class GlanceServer(fixtures.Fixture):
    """Serves images over HTTP to nova.image.glance and python-glanceclient.

    ``images`` and ``data`` hold metadata and data by image id. Requests of a kind in
    ``down`` ("show", "download") are answered with 503. A download ends after ``cut``
    bytes, if set. ``requests`` lists the kind of each request, and ``tokens`` the
    tokens that were sent.
    """

    def __init__(self, fallback: dict[str, dict[str, Any]]) -> None:
        """Begin with no images; those in ``fallback`` are served, but without data."""
        self.images: dict[str, dict[str, Any]] = {}
        self.data: dict[str, bytes] = {}
        self.down: set[str] = set()
        self.cut: int | None = None
        self.requests: list[str] = []
        self.tokens: set[str | None] = set()
        self._fallback = fallback

    def _setUp(self) -> None:
        self._address = (private_address(), 0)
        self.start()
        self.addCleanup(self.stop)
        self.url = f"http://{self._address[0]}:{self._address[1]}"
        # No Keystone is running that could issue a token to a user.
        users = token_endpoint.Token(self.url, USERS_TOKEN)
        self.useFixture(
            fixtures.MonkeyPatch(
                "nova.context.RequestContext.get_auth_plugin",
                lambda context: context.user_auth_plugin or users,
            )
        )
        for name, function in _REAL.items():
            self.useFixture(fixtures.MonkeyPatch(f"nova.image.glance.{name}", function))

    def start(self) -> None:
        """Serve, at the same address each time."""
        self._server = ThreadingHTTPServer(self._address, _handler_of(self))
        self._address = self._server.server_address
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def stop(self) -> None:
        """Stop serving; `start` begins again."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def add(self, image: dict[str, Any], data: bytes) -> None:
        """Add an image; its size and checksums are computed unless it has them."""
        self.data[image["id"]] = data
        self.images[image["id"]] = {
            "size": len(data),
            "checksum": hashlib.md5(data).hexdigest(),
            "os_hash_algo": "sha512",
            "os_hash_value": hashlib.sha512(data).hexdigest(),
        } | image

    def find(self, image_id: str) -> dict[str, Any] | None:
        """Return an image as Glance's API answers it, or None."""
        image = self.images.get(image_id) or self._fallback.get(image_id)
        if image is None:
            return None
        image = dict(image)
        properties = image.pop("properties", {})
        return properties | {
            key: str(value) if key.endswith("_at") else value
            for key, value in image.items()
            if key in _FIELDS
        }


def _handler_of(glance_server: GlanceServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            parts = self.path.strip("/").split("/")
            if parts[1:] == ["schemas", "image"]:
                self.answer(200, json.dumps(_SCHEMA).encode())
                return
            kind = "download" if parts[-1] == "file" else "show"
            glance_server.requests.append(kind)
            glance_server.tokens.add(self.headers["X-Auth-Token"])
            image = glance_server.find(parts[2])
            if kind in glance_server.down:
                self.answer(503, b"{}")
            elif image is None:
                self.answer(404, b"{}")
            elif kind == "show":
                self.answer(200, json.dumps(image).encode())
            else:
                self.send_data(glance_server.data.get(parts[2], b""))

        def answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            # A thread would wait for the next request on a connection that is kept.
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(body)

        def send_data(self, data: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/octet-stream")
            self.send_header("Content-Length", str(len(data)))
            # Nor must the client reuse a connection that was cut.
            self.send_header("Connection", "close")
            self.end_headers()
            with contextlib.suppress(OSError):  # Nova may close it early.
                self.wfile.write(data[: glance_server.cut])

        def log_message(self, *args: Any) -> None:
            """Log nothing, so that the output of the tests stays readable."""

    return Handler
