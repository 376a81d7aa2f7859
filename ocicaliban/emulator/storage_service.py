"""The emulator's Cloud Storage: the part of its JSON API that lists and reads the objects of a bucket."""

from __future__ import annotations

import base64
import http.server
import json
import re
import secrets
import sys
import threading
import time
import urllib.parse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from ocicaliban.emulator import identity
from ocicaliban.emulator.buckets import Bucket, StoredObject, compile_glob, page
from ocicaliban.emulator.faults import FaultInjector

_OBJECTS = re.compile(r"(/download)?/storage/v1/b/([^/]+)/o(?:/([^/]+))?")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")
_HARMLESS = {"alt", "fields", "prettyPrint", "projection", "userProject"}
_CHUNK = 1 << 20


class _Refused(Exception):
    """A request is refused, with the API's status, reason and message."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


class StorageService(http.server.ThreadingHTTPServer):
    """The API on a free port of loopback, from `start` to `shutdown`; `folder` has a folder for each bucket.

    Google's library sends no credentials to an emulator, so its address contains a secret.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, folder: Path, faults: FaultInjector) -> None:
        super().__init__(("127.0.0.1", 0), _Requests)
        self.folder = folder
        self.faults = faults
        self.secret = secrets.token_urlsafe(32)

    @property
    def url(self) -> str:
        """The address, as STORAGE_EMULATOR_HOST expects it."""
        return f"http://127.0.0.1:{self.server_port}/{self.secret}"

    def start(self) -> None:
        """Answer from now on."""
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore a client that closed its connection; it may have been killed."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class _Requests(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: StorageService

    def do_GET(self) -> None:
        """Answer objects.list and objects.get, the latter with the object's bytes for alt=media."""
        try:
            self._handle()
        except _Refused as refused:
            error = {"message": str(refused), "domain": "global", "reason": refused.reason}
            self._send_json(
                refused.status, {"error": {"code": refused.status, "message": str(refused), "errors": [error]}}
            )

    def _handle(self) -> None:
        url = urllib.parse.urlsplit(self.path)
        _, secret, path = [*url.path.split("/", 2), "", ""][:3]
        if not identity.equal(secret, self.server.secret):
            raise _Refused(401, "required", "The address is not the one that the emulator printed.")
        faults = self.server.faults.current()
        time.sleep(faults.latency)
        if faults.denied:
            raise _Refused(403, "forbidden", "The caller does not have storage.objects access to the bucket.")
        if self.server.faults.is_nth("storage", faults.unavailable_every):
            raise _Refused(503, "backendError", "We encountered an internal error. Please try again.")
        query = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
        match = _OBJECTS.fullmatch(f"/{path}")
        if match is None:
            raise _Refused(404, "notFound", "The emulator can list and read objects, and nothing else.")
        try:
            bucket, name = (urllib.parse.unquote(part or "", errors="strict") for part in match.group(2, 3))
        except UnicodeDecodeError as exc:
            raise _Refused(400, "invalid", "A name is not UTF-8.") from exc
        if not _BUCKET.fullmatch(bucket) or not Bucket(self.server.folder, bucket).exists():
            raise _Refused(404, "notFound", "The specified bucket does not exist.")
        if name:
            self._get(bucket, name, query, media=bool(match[1]) or query.get("alt") == "media")
        else:
            self._list(bucket, query)

    def _list(self, bucket: str, query: dict[str, str]) -> None:
        _check_parameters(query, "prefix", "matchGlob", "maxResults", "pageToken")
        try:
            objects = Bucket(self.server.folder, bucket).objects(query.get("prefix", ""))
            if "matchGlob" in query:
                pattern = compile_glob(query["matchGlob"])
                objects = [each for each in objects if pattern.fullmatch(each.name)]
            listed, token = page(objects, int(query.get("maxResults", "0")), query.get("pageToken", ""))
        except ValueError as exc:
            raise _Refused(400, "invalid", f"Invalid argument: {exc}") from exc
        answer: dict[str, object] = {"kind": "storage#objects", "items": [each.resource(bucket) for each in listed]}
        self._send_json(200, answer | ({"nextPageToken": token} if token else {}))

    def _get(self, bucket: str, name: str, query: dict[str, str], media: bool) -> None:
        _check_parameters(query, "generation")
        missing = _Refused(404, "notFound", f"No such object: {bucket}/{name}")
        try:
            stored, file = Bucket(self.server.folder, bucket).open(name)
        except OSError as exc:
            raise missing from exc
        with file:
            if query.get("generation", str(stored.generation)) != str(stored.generation):
                raise missing
            if media:
                self._send_content(stored, file)
            else:
                self._send_json(200, stored.resource(bucket))

    def _send_content(self, stored: StoredObject, file: BinaryIO) -> None:
        import google_crc32c  # it comes with the client library

        checksum = google_crc32c.Checksum()
        for chunk in _chunks(file, stored.size):
            checksum.update(chunk)
        self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(stored.size))
        self.send_header("X-Goog-Generation", str(stored.generation))
        self.send_header("X-Goog-Hash", f"crc32c={base64.b64encode(checksum.digest()).decode()}")
        self.end_headers()
        sent = 0
        for chunk in _chunks(file, stored.size):
            self.wfile.write(chunk)
            sent += len(chunk)
        if sent < stored.size:  # the file has become shorter meanwhile
            self.close_connection = True

    def _send_json(self, status: int, answer: Mapping[str, object]) -> None:
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=UTF-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


def _check_parameters(query: dict[str, str], *known: str) -> None:
    """Refuse other parameters: they could change the answer of the real service."""
    for name in query.keys() - _HARMLESS - set(known):
        raise _Refused(400, "invalid", f"The emulator does not know the parameter '{name}'.")


def _chunks(file: BinaryIO, size: int) -> Iterator[bytes]:
    """Yield the first `size` bytes of a file."""
    file.seek(0)
    while size and (chunk := file.read(min(size, _CHUNK))):
        size -= len(chunk)
        yield chunk
