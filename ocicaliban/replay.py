"""Replays a `run` or `shell` of which nothing has changed, before anything heavy is imported.

A plan is a function of what was read and asked of the world. So when one has been made, the stamps (type, size, times,
device, inode) of everything that was are kept beside the command line that came out of it; while all of them hold, the
same command line is right. What was read is not listed by hand, which would be forgotten one day. Python's audit events
(PEP 578) report each file that is opened and each folder that is listed, absent ones included. Whether something is
there, what it is and where a link leads raises no such event: for these questions the functions of `os`, through which
pathlib and os.path go too, are replaced by ones that keep their answers while a plan is made. A plan for which a
process was started or a connection made is never replayed, since nobody can tell what they would answer now.

A stamp that is younger than the clock can tell apart is not trusted (git calls such an index entry racy): then the
long way is taken, which always is right.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ocicaliban import __version__
from ocicaliban.containers import podman
from ocicaliban.jobs import run_journal
from ocicaliban.system import files

_RACY_NS = 2_000_000_000
_KEPT = 200
_VARIABLES = ("HOME", "PATH", "TMPDIR", "PYTHONPATH", "SHELL", "LANG", "ZDOTDIR")
_PREFIXES = ("XDG_", "OCICALIBAN_", "CONTAINERS_", "STORAGE_", "LC_")
_READ = ("open", "os.scandir", "os.listdir")
_OUTSIDE = ("subprocess.Popen", "os.posix_spawn", "os.system", "os.exec", "socket.connect")

Stamp = list[int] | None
"""Type and mode, device, inode, size, mtime and ctime of a path; None where there is nothing."""


class Recording:
    """What planning took from the world since it began.

    `read`, the paths that were opened or listed; `asked`, by path and by whether links are followed, what it was told
    about them; `alone`, whether nothing else was asked; `notes`, what the user was told meanwhile.
    """

    def __init__(self) -> None:
        self.read: set[str] = set()
        self.asked: dict[tuple[str, bool], Stamp] = {}
        self.alone = True
        self.began = 0
        self.notes: list[str] = []

    def noted(self, line: str) -> None:
        """Keep a line that the user is told: a replay tells it again."""
        self.notes.append(line)

    def told(self, path: object, follow: bool, status: os.stat_result | None) -> None:
        """Take note of what was asked about a path; two answers for one question are none."""
        if isinstance(path, str | bytes | os.PathLike):  # else an open file, which was heard of when it was opened
            answer = _answer(status)
            if self.asked.setdefault((_absolute(path), follow), answer) != answer:
                self.alone = False

    def heard(self, event: str, arguments: tuple[object, ...]) -> None:
        """Take note of an audit event."""
        if event in _OUTSIDE:
            self.alone = False
        elif event in _READ:
            path = "." if arguments[0] is None else arguments[0]
            flags = arguments[2] if event == "open" else os.O_RDONLY
            writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            if isinstance(path, str | bytes | os.PathLike) and not writes:
                self.read.add(_absolute(path))


def _absolute(path: str | bytes | os.PathLike[str]) -> str:
    # Not normalized: what `..` means behind a link only the system can tell.
    name = os.fsdecode(path)
    return name if os.path.isabs(name) else os.path.join(os.getcwd(), name)


_stat = os.stat
_recording: Recording | None = None
_hooked = False


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    if _recording is not None:
        _recording.heard(event, arguments)


@contextlib.contextmanager
def recording(found: Recording | None = None) -> Iterator[Recording]:
    """Take note of everything that is read meanwhile, beside what is noted in `found`."""
    global _recording, _hooked
    if not _hooked:
        sys.addaudithook(_hook)  # there is no way to take one away again
        _hooked = True
    import time

    if found is None:
        found = Recording()
        found.began = time.time_ns()
    _recording = found
    try:
        with _listening(found):
            yield found
    finally:
        _recording = None


@contextlib.contextmanager
def _listening(found: Recording) -> Iterator[None]:
    """Let `found` hear what is asked about paths, for which Python has no audit event."""
    real = {name: getattr(os, name) for name in ("stat", "lstat", "readlink", "access")}

    def ask(path: object, follow: bool) -> None:
        try:
            status = _stat(path, follow_symlinks=follow)  # type: ignore[arg-type]
        except OSError:
            status = None
        found.told(path, follow, status)

    def listening(name: str, follow: bool) -> Callable[..., Any]:
        def function(path: Any, *args: Any, **options: Any) -> Any:
            if options.get("dir_fd") is not None:
                found.alone = False  # nobody asks so today
            ask(path, follow and options.get("follow_symlinks", True))
            return real[name](path, *args, **options)

        return function

    for name, follow in (("stat", True), ("lstat", False), ("readlink", False), ("access", True)):
        setattr(os, name, listening(name, follow))
    try:
        yield
    finally:
        for name, function in real.items():
            setattr(os, name, function)


def _identity(status: os.stat_result) -> list[int]:
    return [status.st_mode, status.st_dev, status.st_ino]


def _state(status: os.stat_result) -> list[int]:
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def _answer(status: os.stat_result | None) -> Stamp:
    """What a question about a path is answered by; for a folder or a device not when something was done in it."""
    if status is None:
        return None
    plain = stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode)
    return [*_identity(status), *(_state(status) if plain else ())]


def _asked(path: str, follow: bool) -> Stamp:
    try:
        return _answer(_stat(path, follow_symlinks=follow))
    except OSError:
        return None


def _stamp(path: str, follow: bool) -> Stamp:
    try:
        status = _stat(path, follow_symlinks=follow)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return [*_identity(status), *_state(status)]


_KINDS = (("asked", _asked, True), ("links", _asked, False), ("read", _stamp, True), ("entries", _stamp, False))


def _split(argv: list[str]) -> tuple[list[str], list[str]]:
    """The command's own arguments, and those after `--`, which are the script's."""
    cut = argv.index("--") if "--" in argv else len(argv)
    return argv[:cut], argv[cut + 1 :]


def _place(argv: list[str]) -> str:
    environ = {name: value for name, value in os.environ.items() if name in _VARIABLES or name.startswith(_PREFIXES)}
    asked = [__version__, sys.executable, os.getcwd(), argv, podman.terminal(), sorted(environ.items())]
    digest = hashlib.sha256(json.dumps(asked).encode("utf-8", "surrogateescape")).hexdigest()
    return str(files.cache() / "hot" / f"{digest[:32]}.json")


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
        for kind, now, follow in _KINDS:
            if any(now(path, follow) != stamp for path, stamp in known[kind].items()):
                return None
        with open(known["index"], encoding="utf-8") as file:
            if f'"id":"{known["image"]}"' not in file.read():
                return None
        os.utime(files.used(known["image"]))
        said, template, _, _ = known["said"], known["argv"], known["key"], known["job"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    with contextlib.suppress(OSError):  # a full disk below stderr is no reason not to run
        print(said, file=sys.stderr, flush=True)
    key = podman.new_key()
    name = podman.container_name(key=key)
    command = (*(word.replace(known["key"], key) for word in template), *script)
    if argv[0] == "shell":
        return podman.run_interactively(command, name)
    job = {**known["job"], "args": script, "handle": name}
    return run_journal.recorded(key, lambda: job, lambda meanwhile: podman.run(command, name, meanwhile), lambda: None)


def _is_kept(path: str) -> bool:
    """Whether a plan depends on this path; not on our cache, which says nothing that the world does not."""
    cache = str(files.cache())
    return path != cache and not path.startswith(cache + os.sep)


def remember(
    argv: list[str],
    found: Recording,
    *,
    read: Iterable[str],
    entries: Iterable[str],
    said: str,
    script: Sequence[str],
    image: str,
    index: Path,
    command: tuple[str, ...],
    key: str,
    job: Mapping[str, object] | None = None,
) -> None:
    """Keep what `attempt` needs to do the same again for the command line `argv`, when it can be trusted.

    `found` and `read` are the paths that were read, `entries` those of the trees (a link in them counts as such),
    `said` is the line for the user, `script` the script's arguments, `index` the store's list of images, in which
    `image` (an id) must still stand, and `command` runs it, with the `key` of this run in it; `job` is what the history
    is told of each. A cache that cannot be written is no fault.
    """
    own, rest = _split(argv)
    if not found.alone or (len(own) < len(argv) and rest != [*script]):
        # What stands behind the `--` is left out of what is kept, so it must be the script's, all of it.
        return
    code = {str(module.__file__) for name, module in sys.modules.items() if name.startswith("ocicaliban")}
    known: dict[str, Any] = {
        "read": {path: _stamp(path, True) for path in {*filter(_is_kept, found.read), *code, *read}},
        "entries": {path: _stamp(path, False) for path in entries},
    }
    newest = found.began - _RACY_NS
    for stamps in known.values():
        if any(stamp is not None and max(stamp[-2:]) > newest for stamp in stamps.values()):
            return
    for kind, wanted in (("asked", True), ("links", False)):
        asked = {path: answer for (path, follow), answer in found.asked.items() if follow == wanted}
        known[kind] = {path: answer for path, answer in asked.items() if _is_kept(path)}
    known |= {
        "index": str(index),
        "image": image,
        "said": "\n".join([*found.notes, said]),
        "argv": command[: len(command) - len(rest)],
        "key": key,
        "job": {**(job or {})},
    }
    place = Path(_place(own))
    with contextlib.suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        old = sorted(place.parent.iterdir(), key=lambda path: path.stat().st_mtime)
        for path in old[:-_KEPT]:
            path.unlink(missing_ok=True)
        files.replace(place, json.dumps(known), mode=0o600)
