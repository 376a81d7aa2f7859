"""Replays a `run` or `shell` of which nothing has changed, before anything heavy is imported.

A plan is a function of what was read of the world. So when one has been made, the stamps (type, size, times, inode) of
everything that was read for it are kept beside the command line that came out of it; while all of them hold, the same
command line is right. What was read is not listed by hand, which would be forgotten one day: Python's audit events
(PEP 578) report each file that is opened and each folder that is listed, absent ones included. A plan for which a
process was started or a connection made is never replayed, since nobody can tell what they would answer now.

A stamp that is younger than the clock can tell apart is not trusted (git calls such an index entry racy): then the
long way is taken, which always is right.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from ocicaliban import __version__, paths, podman

_RACY_NS = 2_000_000_000
_KEPT = 200
_VARIABLES = ("HOME", "PATH", "TMPDIR", "PYTHONPATH", "SHELL", "LANG", "ZDOTDIR")
_PREFIXES = ("XDG_", "OCICALIBAN_", "CONTAINERS_", "STORAGE_", "LC_")
_READ = ("open", "os.scandir", "os.listdir")
_OUTSIDE = ("subprocess.Popen", "os.posix_spawn", "os.system", "os.exec", "socket.connect")

Stamp = list[int] | None
"""Type and mode, size, mtime, ctime and inode of a path; None where there is nothing."""


class Recording:
    """What was read since it began: `read`, the paths; `alone`, whether nothing else was asked."""

    def __init__(self) -> None:
        self.read: set[str] = set()
        self.alone = True
        self.began = 0

    def heard(self, event: str, arguments: tuple[object, ...]) -> None:
        """Take note of an audit event."""
        if event in _OUTSIDE:
            self.alone = False
        elif event in _READ:
            path = "." if arguments[0] is None else arguments[0]
            flags = arguments[2] if event == "open" else os.O_RDONLY
            writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            if isinstance(path, str | bytes | os.PathLike) and not writes:
                self.read.add(os.path.abspath(os.fsdecode(path)))


_recording: Recording | None = None
_hooked = False


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    if _recording is not None:
        _recording.heard(event, arguments)


@contextlib.contextmanager
def recording() -> Iterator[Recording]:
    """Take note of everything that is read meanwhile."""
    global _recording, _hooked
    if not _hooked:
        sys.addaudithook(_hook)  # there is no way to take one away again
        _hooked = True
    import time

    found = _recording = Recording()
    found.began = time.time_ns()
    try:
        yield found
    finally:
        _recording = None


def _stamp(path: str, follow: bool) -> Stamp:
    try:
        status = os.stat(path, follow_symlinks=follow)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return [status.st_mode, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


def _split(argv: list[str]) -> tuple[list[str], list[str]]:
    """The command's own arguments, and those after `--`, which are the script's."""
    cut = argv.index("--") if "--" in argv else len(argv)
    return argv[:cut], argv[cut + 1 :]


def _place(argv: list[str]) -> str:
    environ = {
        name: value for name, value in os.environ.items() if name in _VARIABLES or name.startswith(_PREFIXES)
    }
    asked = [__version__, sys.executable, os.getcwd(), argv, podman.terminal(), sorted(environ.items())]
    digest = hashlib.sha256(json.dumps(asked).encode("utf-8", "surrogateescape")).hexdigest()
    return str(paths.cache() / "hot" / f"{digest[:32]}.json")


def attempt(argv: list[str]) -> int | None:
    """Run what the command line `argv` ran before, when nothing changed since; returns its exit code.

    None when it has to go the long way.
    """
    if not argv or argv[0] not in ("run", "shell") or os.geteuid() == 0:
        return None
    own, script = _split(argv)
    try:
        with open(_place(own), encoding="utf-8") as file:
            known = json.load(file)
        for kind, follow in (("read", True), ("entries", False)):
            if any(_stamp(path, follow) != stamp for path, stamp in known[kind].items()):
                return None
        with open(known["index"], encoding="utf-8") as file:
            if f'"id":"{known["image"]}"' not in file.read():
                return None
        os.utime(paths.used(known["image"]))
        said, template = known["said"], known["argv"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    print(said, file=sys.stderr, flush=True)
    name = podman.container_name()
    template[template.index("--name") + 1] = name
    start = podman.live if argv[0] == "shell" else podman.run
    return start((*template, *script), name)


def remember(
    argv: list[str],
    found: Recording,
    *,
    read: Iterable[str],
    entries: Iterable[str],
    said: str,
    image: str,
    index: Path,
    command: tuple[str, ...],
) -> None:
    """Keep what `attempt` needs to do the same again for the command line `argv`, when it can be trusted.

    `found` and `read` are the paths that were read, `entries` those of the trees (a link in them counts as such),
    `said` is the line for the user, `index` the store's list of images, in which `image` (an id) must still stand,
    and `command` runs it. A cache that cannot be written is no fault.
    """
    own, script = _split(argv)
    if not found.alone or (script and list(command[-len(script) :]) != script):
        return
    cache = str(paths.cache())
    code = {str(module.__file__) for name, module in sys.modules.items() if name.startswith("ocicaliban")}
    opened = {path for path in found.read if not path.startswith(cache)}
    known: dict[str, object] = {
        "read": {path: _stamp(path, True) for path in {*opened, *code, *read}},
        "entries": {path: _stamp(path, False) for path in entries},
    }
    newest = found.began - _RACY_NS
    for stamps in known.values():
        assert isinstance(stamps, dict)
        if any(stamp is not None and max(stamp[2], stamp[3]) > newest for stamp in stamps.values()):
            return
    known |= {
        "index": str(index),
        "image": image,
        "said": said,
        "argv": command[: len(command) - len(script)],
    }
    place = Path(_place(own))
    with contextlib.suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        old = sorted(place.parent.iterdir(), key=lambda path: path.stat().st_mtime)
        for path in old[: -_KEPT]:
            path.unlink(missing_ok=True)
        temporary = place.with_suffix(f".{os.getpid()}")
        temporary.touch(mode=0o600)
        temporary.write_text(json.dumps(known), encoding="utf-8")
        temporary.replace(place)
