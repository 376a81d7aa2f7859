"""Repeat a `run` or `shell` if nothing has changed since, before anything slow is imported.

A plan depends only on what was read from the file system. So we keep the resulting command line together with the
stamps (type, size, times, device, inode) of everything that was read; while no stamp changes, the command line is
right. Nobody has to list what was read, and so cannot forget anything: Python's audit events (PEP 578) report each file
that is opened and each folder that is listed, even absent ones. They do not report stat, readlink and access, which
pathlib and os.path use too; so while a plan is made, these functions of `os` are replaced by others that keep their
answers. A plan that started a process or opened a connection is never repeated, since their answers may change.

A stamp that is younger than the clock's resolution is not trusted (git calls such an index entry racy). Then the run is
planned again, which is always right.
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
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from ocicaliban import __version__
from ocicaliban.containers import podman
from ocicaliban.jobs import run_journal, single_run
from ocicaliban.system import files

if TYPE_CHECKING:
    from ocicaliban.gpu.lease import Leases

_RACY_NS = 2_000_000_000
_KEPT = 200
_LOUD = "warning: "
_VERSION = 1  # of a record; one without a version is of version 1
_VARIABLES = ("HOME", "PATH", "TMPDIR", "PYTHONPATH", "SHELL", "LANG", "ZDOTDIR", "SLURM_STEP_GPUS", "SLURM_JOB_GPUS")
_PREFIXES = ("CUDA_", "ROCR_", "HIP_", "XDG_", "OCICALIBAN_", "CONTAINERS_", "STORAGE_", "LC_")
_READ = ("open", "os.scandir", "os.listdir")
_OUTSIDE = ("subprocess.Popen", "os.posix_spawn", "os.system", "os.exec", "socket.connect")

Stamp = list[int] | None
"""Type and mode, device, inode, size, mtime and ctime of a path; None if it does not exist."""


class Recording:
    """What planning has read since it began.

    `read` are the paths that were opened or listed; `asked` are the answers about paths, by path and by whether links
    were followed; `alone` is whether nothing but the file system was asked; `notes` are the lines for the user.
    """

    def __init__(self) -> None:
        self.read: set[str] = set()
        self.asked: dict[tuple[str, bool], Stamp] = {}
        self.alone = True
        self.began = 0
        self.notes: list[str] = []

    def note_line(self, line: str) -> None:
        """Keep a line for the user, to be repeated by a replay."""
        self.notes.append(line)

    def note_answer(self, path: object, follow: bool, status: os.stat_result | None) -> None:
        """Note an answer about a path; two different answers make the plan unrepeatable."""
        if isinstance(path, str | bytes | os.PathLike):  # else an open file, noted when it was opened
            answer = _answer(status)
            if self.asked.setdefault((_absolute(path), follow), answer) != answer:
                self.alone = False

    def note_event(self, event: str, arguments: tuple[object, ...]) -> None:
        """Note an audit event."""
        if event in _OUTSIDE:
            self.alone = False
        elif event in _READ:
            path = "." if arguments[0] is None else arguments[0]
            flags = arguments[2] if event == "open" else os.O_RDONLY
            writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            if isinstance(path, str | bytes | os.PathLike) and not writes:
                self.read.add(_absolute(path))


def _absolute(path: str | bytes | os.PathLike[str]) -> str:
    # Not normalized: after a link, only the system knows what `..` means.
    name = os.fsdecode(path)
    return name if os.path.isabs(name) else os.path.join(os.getcwd(), name)


_stat = os.stat
_recording: Recording | None = None
_hooked = False


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    if _recording is not None:
        _recording.note_event(event, arguments)


@contextlib.contextmanager
def recording(found: Recording | None = None) -> Iterator[Recording]:
    """Record everything that is read while the context lasts, in `found` or in a new recording."""
    global _recording, _hooked
    if not _hooked:
        sys.addaudithook(_hook)  # it cannot be removed
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
    """Record the questions about paths for which Python has no audit event."""
    real = {name: getattr(os, name) for name in ("stat", "lstat", "readlink", "access")}

    def ask(path: object, follow: bool) -> None:
        try:
            status = _stat(path, follow_symlinks=follow)  # type: ignore[arg-type]
        except OSError:
            status = None
        found.note_answer(path, follow, status)

    def listening(name: str, follow: bool) -> Callable[..., Any]:
        def function(path: Any, *args: Any, **options: Any) -> Any:
            if options.get("dir_fd") is not None:
                found.alone = False  # not used today
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
    """Return the answer about a path; for a folder or device without the times, which change with its contents."""
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
    """Divide a command line into our own arguments and those of the script, after `--`."""
    cut = argv.index("--") if "--" in argv else len(argv)
    return argv[:cut], argv[cut + 1 :]


def _place(argv: list[str]) -> str:
    environ = {name: value for name, value in os.environ.items() if name in _VARIABLES or name.startswith(_PREFIXES)}
    asked = [__version__, sys.executable, os.getcwd(), argv, podman.terminal(), sorted(environ.items())]
    digest = hashlib.sha256(json.dumps(asked).encode("utf-8", "surrogateescape")).hexdigest()
    return str(files.cache() / "hot" / f"{digest[:32]}.json")


def attempt(
    argv: list[str], after: Callable[[single_run.Place, int, Mapping[str, Any]], None] = lambda *_: None
) -> int | None:
    """Repeat what the command line `argv` ran before, if nothing has changed since; return the exit code.

    Return None if the run must be planned. `after` is called after a run that has failed, with its place, its exit
    code and the record of its submission.
    """
    if not argv or argv[0] not in ("run", "shell") or os.geteuid() == 0:
        return None
    own, script = _split(argv)
    try:
        with open(_place(own), encoding="utf-8") as file:
            known = json.load(file)
        if known.get("version", 1) != _VERSION:
            return None
        for kind, now, follow in _KINDS:
            if any(now(path, follow) != stamp for path, stamp in known[kind].items()):
                return None
        with open(known["index"], encoding="utf-8") as file:
            if f'"id":"{known["image"]}"' not in file.read():
                return None
        os.utime(files.used(known["image"]))
        if known.get("caches"):
            os.makedirs(files.kept_caches(), mode=0o700, exist_ok=True)
        for folder in known.get("folders", ()):
            os.utime(files.used(os.path.basename(folder)))
        said, template, _, _ = known["said"], known["argv"], known["key"], known["job"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    key = podman.new_key()
    name = podman.container_name(key=key)
    command = (*(word.replace(known["key"], key) for word in template), *script)
    if argv[0] == "shell":
        _say(said)
        with _leased(known.get("gpus", ()), shared=True) as leases:
            return podman.run_interactively(command, name, leases.hand_over if leases else lambda: None)
    try:
        place = single_run.make(known["job"]["submission"]["group"], key)
    except (OSError, KeyError, TypeError):
        return None
    command = _with_port(command, known.get("port", 0))
    job = {**known["job"], "args": script, "handle": name, "out": str(place.out), "log": str(place.log)}
    _say(said)
    with _leased(known.get("gpus", ())):
        code = run_journal.recorded(
            key, lambda: job, lambda meanwhile: podman.run(command, name, meanwhile), lambda: None
        )
    if not known.get("quiet") and (line := single_run.results(place.out)):
        _say(line)
    if code:
        after(place, code, known["job"]["submission"])
    return code


def _with_port(command: tuple[str, ...], known: int) -> tuple[str, ...]:
    """Return a command line in which the variables with the port of the remembered run have one that is free now."""
    old = {f"{name}={value}" for name, value in single_run.port_environment(known)}
    port = single_run.free_port() if old else 0
    return tuple(f"{word.partition('=')[0]}={port}" if word in old else word for word in command)


def _leased(gpus: Sequence[str], *, shared: bool = False) -> contextlib.AbstractContextManager[Leases | None]:
    if not gpus:
        return contextlib.nullcontext()
    from ocicaliban.gpu import lease

    leases = lease.leased(gpus, shared=shared)
    if shared and (lines := leases.beside()):
        from ocicaliban.formats.text import shown

        _say(shown("\n".join(lines)))
    return leases


def _say(text: str) -> None:
    if not text:
        return  # --quiet
    with contextlib.suppress(OSError):  # a full disk behind stderr must not prevent the run
        print(text, file=sys.stderr, flush=True)


def _is_kept(path: str) -> bool:
    """Return whether a plan depends on this path: not on our cache, which can be made again."""
    cache = str(files.cache())
    return path != cache and not path.startswith(cache + os.sep)


class Replayable(NamedTuple):
    """A run that has been planned.

    `argv` is our own command line, `script` its arguments for the script; `command` is podman's command line, with the
    `key` of this run in it; `image` is an id that must still be in `images`, the store's list; `said` is the
    line for the user; `job` is what the history records of each run, and `gpus` what it must lease (see `gpu.lease`);
    `folders` are mounted in place of layers, and must still be there. `port` is in variables of the command.
    One with `caches` mounts `files.kept_caches`. A `quiet` one says nothing but what is wrong.
    """

    argv: list[str]
    script: Sequence[str]
    command: tuple[str, ...]
    key: str
    image: str
    images: Path
    said: str = ""
    job: Mapping[str, object] = MappingProxyType({})
    gpus: Sequence[str] = ()
    folders: Sequence[str] = ()
    port: int = 0
    quiet: bool = False
    caches: bool = False


def remember(run: Replayable, recording: Recording, *, read: Iterable[str], entries: Iterable[str]) -> None:
    """Keep what `attempt` needs to repeat the run, if the recording can be trusted.

    `read` are more paths that were read, `entries` those of the trees, where a link counts as such. If the cache cannot
    be written, nothing is kept.
    """
    own, rest = _split(run.argv)
    if not recording.alone or (len(own) < len(run.argv) and rest != [*run.script]):
        # The words after `--` are not kept, so all of them must be the script's.
        return
    code = {str(module.__file__) for name, module in sys.modules.items() if name.startswith("ocicaliban")}
    known: dict[str, Any] = {
        "read": {path: _stamp(path, True) for path in {*filter(_is_kept, recording.read), *code, *read}},
        "entries": {path: _stamp(path, False) for path in entries},
    }
    newest = recording.began - _RACY_NS
    for stamps in known.values():
        if any(stamp is not None and max(stamp[-2:]) > newest for stamp in stamps.values()):
            return
    for kind, wanted in (("asked", True), ("links", False)):
        asked = {path: answer for (path, follow), answer in recording.asked.items() if follow == wanted}
        known[kind] = {path: answer for path, answer in asked.items() if _is_kept(path)}
    known["asked"] |= {path: _asked(path, True) for path in run.folders}
    from ocicaliban.formats.text import shown  # a replay prints the stored text as it is

    known |= {
        "version": _VERSION,
        "index": str(run.images),
        "image": run.image,
        "said": shown(
            "\n".join([*(note for note in recording.notes if not run.quiet or note.startswith(_LOUD)), run.said])
        ),
        "quiet": run.quiet,
        "caches": run.caches,
        "argv": run.command[: len(run.command) - len(rest)],
        "key": run.key,
        "job": {**run.job},
        "gpus": [*run.gpus],
        "folders": [*run.folders],
        "port": run.port,
    }
    place = Path(_place(own))
    with contextlib.suppress(OSError):
        files.make_folder(place.parent)
        old = sorted(place.parent.iterdir(), key=lambda path: path.stat().st_mtime)
        for path in old[:-_KEPT]:
            path.unlink(missing_ok=True)
        files.replace(place, json.dumps(known), mode=0o600)
