"""The emulator's Cloud Storage: of its JSON API what it takes to list the objects of a bucket and to read them."""

from __future__ import annotations

import base64
import contextlib
import datetime
import http.server
import itertools
import json
import os
import re
import secrets
import stat
import sys
import threading
import time
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from attrs import frozen

from ocicaliban.emulator import identity
from ocicaliban.emulator.faults import Order

LARGEST_PAGE = 1000
"""Objects, as the reference of objects.list has it for maxResults."""

_OBJECTS = re.compile(r"(/download)?/storage/v1/b/([^/]+)/o(?:/([^/]+))?")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")
_HARMLESS = {"alt", "fields", "prettyPrint", "projection", "userProject"}
_CHUNK = 1 << 20


# --- objects, which are the files of a folder ---


@frozen(kw_only=True)
class Object:
    """An object: its name in the bucket, bytes, and generation, which each write changes (microseconds since 1970)."""

    name: str
    size: int
    generation: int

    def described(self, bucket: str) -> dict[str, str]:
        """The resource that the API tells of it."""
        when = f"{datetime.datetime.fromtimestamp(self.generation / 1e6, datetime.UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
        return {
            "kind": "storage#object",
            "id": f"{bucket}/{self.name}/{self.generation}",
            "bucket": bucket,
            "name": self.name,
            "size": str(self.size),
            "generation": str(self.generation),
            "metageneration": "1",
            "contentType": "application/octet-stream",
            "storageClass": "STANDARD",
            "timeCreated": when,
            "updated": when,
        }


class Bucket:
    """A folder below that of all buckets, as a bucket.

    Jobs write there, links too: no link is followed, at any part of a name, so that nothing outside is ever shown.
    """

    def __init__(self, buckets: Path, name: str) -> None:
        self._buckets = buckets
        self._name = name

    def exists(self) -> bool:
        """Whether there is such a folder."""
        try:
            os.close(self._folder(()))
        except OSError:
            return False
        return True

    def objects(self, prefix: str) -> list[Object]:
        """The objects whose names begin so, in the order of their names in UTF-8."""
        *parts, _ = prefix.split("/")
        try:
            top = self._folder(parts)
        except OSError:
            return []
        above = "".join(f"{part}/" for part in parts)
        found = []
        try:
            for folder, _, names, at in os.fwalk(".", dir_fd=top, follow_symlinks=False):
                below = f"{folder[2:]}/" if folder != "." else ""
                for name in names:
                    whole = above + below + name
                    if not whole.startswith(prefix) or not _is_text(whole):
                        continue
                    with contextlib.suppress(FileNotFoundError):
                        status = os.stat(name, dir_fd=at, follow_symlinks=False)
                        if stat.S_ISREG(status.st_mode):
                            found.append(_object(whole, status))
        finally:
            os.close(top)
        return sorted(found, key=lambda each: each.name.encode())

    def open(self, name: str) -> tuple[Object, BinaryIO]:
        """An object and its bytes. Raises OSError where there is none of that name."""
        *parts, last = name.split("/")
        folder = self._folder(parts)
        try:
            descriptor = _open(last, os.O_NONBLOCK, folder)
        finally:
            os.close(folder)
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            raise FileNotFoundError(name)
        return _object(name, status), os.fdopen(descriptor, "rb")

    def _folder(self, parts: Sequence[str]) -> int:
        at = os.open(self._buckets, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        for part in (self._name, *parts):
            try:
                inner = _open(part, os.O_DIRECTORY, at)
            finally:
                os.close(at)
            at = inner
        return at


def _open(part: str, flags: int, at: int) -> int:
    if part in ("", ".", "..") or "/" in part or "\0" in part:
        raise FileNotFoundError(part)
    return os.open(part, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | flags, dir_fd=at)


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _object(name: str, status: os.stat_result) -> Object:
    return Object(name=name, size=status.st_size, generation=status.st_mtime_ns // 1000)


def page(found: Sequence[Object], size: int, token: str) -> tuple[Sequence[Object], str]:
    """A page of objects in their order, and the token of the next one; "" after the last.

    Raises ValueError for a token that is none.
    """
    after = base64.b64decode(token, altchars="-_", validate=True) if token else b""
    size = min(size, LARGEST_PAGE) if size > 0 else LARGEST_PAGE
    rest = list(itertools.islice((each for each in found if each.name.encode() > after), size + 1))
    more = len(rest) > size
    return rest[:size], base64.urlsafe_b64encode(rest[size - 1].name.encode()).decode() if more else ""


def glob(pattern: str) -> re.Pattern[str]:
    """What a matchGlob means: `*`, `?` and `[a-z]` within a part of a name, `**` over parts, `{a,b}` either.

    `**/` at the start or after a slash takes no part as well. Raises ValueError for a pattern that is none.
    """
    out, depth = "", 0
    tokens = re.findall(r"\*\*/|\*\*|\\.|\[[^\]]+\]|.", pattern, re.DOTALL)
    for before, token in zip(("/", *tokens), tokens, strict=False):
        if token == "**/":
            out += "(?:.*/)?" if before.endswith("/") else ".*/"
        elif token == "**":
            out += ".*"
        elif token in ("*", "?"):
            out += {"*": "[^/]*", "?": "[^/]"}[token]
        elif token == "{":
            out, depth = f"{out}(?:", depth + 1
        elif token == "}" and depth:
            out, depth = f"{out})", depth - 1
        elif token == "," and depth:
            out += "|"
        elif token.startswith("[") and len(token) > 1:
            negated = token[1] in "!^"
            inside = re.sub(r"([\\\[\]^&~|])", r"\\\1", token[1 + negated : -1])
            out += f"(?!/)[{'^' * negated}{inside}]"
        else:
            out += re.escape(token[-1])
    try:
        return re.compile(out, re.DOTALL)
    except re.error as exc:
        raise ValueError(str(exc)) from exc


# --- the API ---


class _Refused(Exception):
    """A request that gets an error, by the API's status, reason and message."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


class Storage(http.server.ThreadingHTTPServer):
    """The API on a free port of loopback, from `start` to `shutdown`; `folder` has a folder for each bucket.

    Google's library sends no credentials to an emulator. So the address has a secret in it, and who does not know it
    is refused.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, folder: Path, order: Order) -> None:
        super().__init__(("127.0.0.1", 0), _Requests)
        self.folder = folder
        self.order = order
        self.secret = secrets.token_urlsafe(32)

    @property
    def url(self) -> str:
        """Where it is, as STORAGE_EMULATOR_HOST has it."""
        return f"http://127.0.0.1:{self.server_port}/{self.secret}"

    def start(self) -> None:
        """Answer from now on."""
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of a client that is gone, as one is that was ended."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class _Requests(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Storage

    def do_GET(self) -> None:
        """Answer objects.list and objects.get, the latter with the object's bytes for alt=media."""
        try:
            self._go()
        except _Refused as refused:
            error = {"message": str(refused), "domain": "global", "reason": refused.reason}
            self._json(refused.status, {"error": {"code": refused.status, "message": str(refused), "errors": [error]}})

    def _go(self) -> None:
        url = urllib.parse.urlsplit(self.path)
        _, given, path = [*url.path.split("/", 2), "", ""][:3]
        if not identity.same(given, self.server.secret):
            raise _Refused(401, "required", "The address is not the one that the emulator has printed.")
        faults = self.server.order.now()
        time.sleep(faults.latency)
        if faults.denied:
            raise _Refused(403, "forbidden", "The caller does not have storage.objects access to the bucket.")
        if self.server.order.nth("storage", faults.unavailable_every):
            raise _Refused(503, "backendError", "We encountered an internal error. Please try again.")
        asked = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
        match = _OBJECTS.fullmatch(f"/{path}")
        if match is None:
            raise _Refused(404, "notFound", "The emulator lists objects and reads them, and nothing else.")
        try:
            bucket, name = (urllib.parse.unquote(part or "", errors="strict") for part in match.group(2, 3))
        except UnicodeDecodeError as exc:
            raise _Refused(400, "invalid", "A name is not UTF-8.") from exc
        if not _BUCKET.fullmatch(bucket) or not Bucket(self.server.folder, bucket).exists():
            raise _Refused(404, "notFound", "The specified bucket does not exist.")
        if name:
            self._object(bucket, name, asked, media=bool(match[1]) or asked.get("alt") == "media")
        else:
            self._list(bucket, asked)

    def _list(self, bucket: str, asked: dict[str, str]) -> None:
        _known(asked, "prefix", "matchGlob", "maxResults", "pageToken")
        try:
            found = Bucket(self.server.folder, bucket).objects(asked.get("prefix", ""))
            if "matchGlob" in asked:
                pattern = glob(asked["matchGlob"])
                found = [each for each in found if pattern.fullmatch(each.name)]
            some, token = page(found, int(asked.get("maxResults", "0")), asked.get("pageToken", ""))
        except ValueError as exc:
            raise _Refused(400, "invalid", f"Invalid argument: {exc}") from exc
        answer: dict[str, object] = {"kind": "storage#objects", "items": [each.described(bucket) for each in some]}
        self._json(200, answer | ({"nextPageToken": token} if token else {}))

    def _object(self, bucket: str, name: str, asked: dict[str, str], media: bool) -> None:
        _known(asked, "generation")
        none = _Refused(404, "notFound", f"No such object: {bucket}/{name}")
        try:
            one, file = Bucket(self.server.folder, bucket).open(name)
        except OSError as exc:
            raise none from exc
        with file:
            if asked.get("generation", str(one.generation)) != str(one.generation):
                raise none
            if media:
                self._bytes(one, file)
            else:
                self._json(200, one.described(bucket))

    def _bytes(self, one: Object, file: BinaryIO) -> None:
        import google_crc32c  # it comes with the client library

        checksum = google_crc32c.Checksum()
        for chunk in _chunks(file, one.size):
            checksum.update(chunk)
        self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(one.size))
        self.send_header("X-Goog-Generation", str(one.generation))
        self.send_header("X-Goog-Hash", f"crc32c={base64.b64encode(checksum.digest()).decode()}")
        self.end_headers()
        sent = 0
        for chunk in _chunks(file, one.size):
            self.wfile.write(chunk)
            sent += len(chunk)
        if sent < one.size:  # it has become shorter meanwhile
            self.close_connection = True

    def _json(self, status: int, answer: Mapping[str, object]) -> None:
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=UTF-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def _known(asked: dict[str, str], *names: str) -> None:
    """Refuse what would change the answer of the real service, and is not known here."""
    for name in asked.keys() - _HARMLESS - set(names):
        raise _Refused(400, "invalid", f"The emulator does not know the parameter '{name}'.")


def _chunks(file: BinaryIO, size: int) -> Iterator[bytes]:
    """The first `size` bytes of a file."""
    file.seek(0)
    while size and (chunk := file.read(min(size, _CHUNK))):
        size -= len(chunk)
        yield chunk
