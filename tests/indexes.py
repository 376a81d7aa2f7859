"""A package index on this machine, which notes what it is asked for."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from attrs import field, frozen


@frozen
class PackageIndex:
    """An index at `url`. `asked` has the paths of all requests, and `files` the archives by name.

    `hashes` says whether its pages tell the archives' digests.
    """

    url: str
    files: Mapping[str, bytes]
    hashes: bool
    asked: list[str] = field(factory=list)

    def digest(self, name: str) -> str:
        """Return the sha256 of the archive whose name begins with `name`."""
        return next(hashlib.sha256(data).hexdigest() for file, data in self.files.items() if file.startswith(name))

    def packages_asked(self) -> set[str]:
        """Return the names of the packages of which a page or an archive was asked for."""
        names = (path.strip("/").split("/") for path in self.asked)
        return {words[-1].split("-")[0].replace("_", "-") if words[0] == "files" else words[-1] for words in names}


def wheel(name: str, version: str, text: str = "", requires: tuple[str, ...] = ()) -> tuple[str, bytes]:
    """Return the file name and the contents of a wheel with one module, which holds `text`."""
    module = name.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    needs = "".join(f"Requires-Dist: {line}\n" for line in requires)
    files = {
        f"{module}.py": text,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: a test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": "",
    }
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for path, content in files.items():
            archive.writestr(zipfile.ZipInfo(path), content)
    return f"{module}-{version}-py3-none-any.whl", out.getvalue()


@contextmanager
def serving(*wheels: tuple[str, bytes], hashes: bool = True) -> Iterator[PackageIndex]:
    """Serve wheels as a package index."""
    files, asked = dict(wheels), list[str]()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            words = self.path.strip("/").split("/")
            body = files.get(words[-1]) if words[0] == "files" else _page(words[-1], files, hashes)
            self.send_response(200 if body else 404)
            self.send_header("Content-Type", "application/octet-stream" if words[0] == "files" else "text/html")
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        do_HEAD = do_GET

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield PackageIndex(f"http://127.0.0.1:{server.server_port}/simple", files, hashes, asked)
    finally:
        server.shutdown()
        server.server_close()


def _page(package: str, files: Mapping[str, bytes], hashes: bool) -> bytes | None:
    """Return the page of a package, None if the index does not have it."""
    links = [
        f'<a href="/files/{name}{"#sha256=" + hashlib.sha256(data).hexdigest() if hashes else ""}">{name}</a>'
        for name, data in files.items()
        if name.split("-")[0].replace("_", "-") == package
    ]
    return f"<!DOCTYPE html><html><body>{''.join(links)}</body></html>".encode() if links else None
