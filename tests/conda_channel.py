"""A conda channel made on the spot: packages as archives, with the index that a channel has."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import functools
import hashlib
import http.server
import io
import json
import os
import tarfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from attrs import field, frozen

PLACEHOLDER = "/placeholder" + "_placeholder" * 10
"""The path in a package's files that an installation replaces by the environment's folder."""


@frozen(kw_only=True)
class CondaPackage:
    """A package to make. `files` are texts, bytes, or the target of a link in a tuple; programs are those in bin/."""

    name: str
    version: str = "1.0"
    build: str = "0"
    subdir: str = "linux-64"
    depends: tuple[str, ...] = ()
    files: Mapping[str, str | bytes | tuple[str]] = field(factory=dict)
    noarch: str = ""
    entry_points: tuple[str, ...] = ()
    padding: int = 0

    @property
    def archive(self) -> str:
        """The name of its file in the channel."""
        return f"{self.name}-{self.version}-{self.build}.tar.bz2"


def python_module(name: str, text: str, *, version: str = "1.0", depends: Sequence[str] = ()) -> CondaPackage:
    """Return a package with one Python module, and a command of the same name that calls its `main`."""
    return CondaPackage(
        name=name,
        version=version,
        build="py_0",
        subdir="noarch",
        noarch="python",
        depends=("python >=3.9", *depends),
        entry_points=(f"{name} = {name}:main",),
        files={
            f"site-packages/{name}.py": text,
            f"site-packages/{name}-{version}.dist-info/METADATA": (
                f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
            ),
            f"site-packages/{name}-{version}.dist-info/INSTALLER": "conda\n",
        },
    )


def make_channel(folder: Path, packages: Sequence[CondaPackage]) -> Path:
    """Make a channel in a folder, and return it."""
    from rattler.index import index_fs

    for package in packages:
        _write(folder, package)
    for subdir in ("linux-64", "noarch"):
        (folder / subdir).mkdir(parents=True, exist_ok=True)
    asyncio.run(index_fs(folder, write_zst=False, write_shards=False, force=True))
    return folder


def _write(folder: Path, package: CondaPackage) -> None:
    members: dict[str, bytes | tuple[str]] = {}
    paths = []
    files = dict(package.files)
    if package.padding:
        files[f"share/{package.name}/padding"] = os.urandom(package.padding)
    for path, given in sorted(files.items()):
        if isinstance(given, tuple):
            members[path] = given
            paths.append({"_path": path, "path_type": "softlink", "sha256": "0" * 64, "size_in_bytes": 0})
            continue
        data = given.encode() if isinstance(given, str) else given
        members[path] = data
        entry = {
            "_path": path,
            "path_type": "hardlink",
            "sha256": hashlib.sha256(data).hexdigest(),
            "size_in_bytes": len(data),
        }
        if PLACEHOLDER.encode() in data:
            entry |= {"prefix_placeholder": PLACEHOLDER, "file_mode": "text"}
        paths.append(entry)
    index: dict[str, object] = {
        "name": package.name, "version": package.version, "build": package.build, "build_number": 0,
        "depends": list(package.depends), "subdir": package.subdir, "timestamp": 1_700_000_000_000,
    }  # fmt: skip
    if package.noarch:
        index["noarch"] = package.noarch
    if package.noarch == "python":
        link = {"noarch": {"type": "python", "entry_points": list(package.entry_points)}, "package_metadata_version": 1}
        members["info/link.json"] = json.dumps(link).encode()
    members["info/index.json"] = json.dumps(index).encode()
    members["info/paths.json"] = json.dumps({"paths": paths, "paths_version": 1}).encode()
    members["info/files"] = "".join(f"{each['_path']}\n" for each in paths).encode()
    members["info/about.json"] = b"{}"
    place = folder / package.subdir / package.archive
    place.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(place, "w:bz2") as tar:
        for path, content in members.items():
            info = tarfile.TarInfo(path)
            info.mode = 0o755 if path.startswith("bin/") else 0o644
            if isinstance(content, tuple):
                info.type, info.linkname = tarfile.SYMTYPE, content[0]
                tar.addfile(info)
            else:
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))


def system_python(name: str = "python3.11") -> CondaPackage:
    """Return Debian's Python of this machine as a conda package, which works at any prefix."""
    library = Path("/usr/lib") / name
    left_out = {"__pycache__", "test", "idlelib", "tkinter", "lib2to3", "dist-packages", "site-packages", "ensurepip"}
    files: dict[str, str | bytes | tuple[str]] = {
        f"bin/{name}": Path(f"/usr/bin/{name}").read_bytes(),
        "bin/python3": (name,),
        "bin/python": (name,),
        # Debian's `site` looks for dist-packages only.
        f"lib/{name}/sitecustomize.py": "import site, sys\nsite.addsitedir(f'{sys.prefix}/lib/"
        + name
        + "/site-packages')\n",
    }
    for parent, folders, names in os.walk(library):
        folders[:] = [each for each in folders if each not in left_out and not each.startswith("config-")]
        for each in names:
            path = Path(parent) / each
            # Debian's pip asks for a virtual environment, conda's does not.
            if path.is_file() and not path.is_symlink() and each != "EXTERNALLY-MANAGED":
                files[f"lib/{name}/{path.relative_to(library)}"] = path.read_bytes()
    # As everywhere but on Debian, packages go to lib and commands to bin.
    scheme = f"lib/{name}/sysconfig.py"
    files[scheme] = (library / "sysconfig.py").read_text().replace("= 'posix_local'", "= 'posix_prefix'")
    import platform

    return CondaPackage(
        name="python", version=platform.python_version(), build="0_cpython", files=files, depends=("__glibc >=2.17",)
    )


@contextlib.contextmanager
def served(folder: Path, login: str = "") -> Iterator[str]:
    """Serve a folder over HTTP, to those who have the login USER:PASSWORD if there is one."""
    expected = f"Basic {base64.b64encode(login.encode()).decode()}"

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            if login and self.headers.get("Authorization") != expected:
                self.send_error(401)
            else:
                super().do_GET()

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
