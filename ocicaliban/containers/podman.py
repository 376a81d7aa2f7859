"""podman's command line, for what needs the terminal, and the exit code that podman 4.3 loses."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import shlex
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ocicaliban.errors import OcicalibanError, UsageError, nearest
from ocicaliban.system import process

if TYPE_CHECKING:
    # The shortest way to a running container goes through this module without the model.
    from ocicaliban.model.image import Image, Launch


def run_argv(
    image: Image,
    launch: Launch,
    args: tuple[str, ...],
    *,
    name: str,
    terminal: tuple[bool, bool],
    extra: tuple[str, ...] = (),
    entrypoint: tuple[str, ...] = (),
    detached: bool = False,
) -> tuple[str, ...]:
    """The command that runs a container; `terminal` is what `terminal()` tells.

    One that is `detached` goes on by itself, and stays when it has ended, with what it said.

    An init process is put in, because the kernel does not deliver SIGTERM to a PID 1 that does not handle it.
    """
    verb = ("podman", "run", "--detach" if detached else "--rm")
    tty: list[str] = []
    if terminal[0]:
        tty.append("-i")
    if all(terminal):
        # What programs go by when they choose colours; podman leaves out what is not set here.
        tty += ["-t", "--env", "TERM", "--env", "COLORTERM", "--env", "NO_COLOR"]
    return *verb, *_container(image.id, launch, args, name, tuple(tty), extra, entrypoint)


def create_argv(
    image: str, launch: Launch, args: tuple[str, ...], *, name: str, extra: tuple[str, ...] = ()
) -> tuple[str, ...]:
    """The command that makes a container of the image with this id, as `run_argv` does, and does not start it."""
    return "podman", "create", *_container(image, launch, args, name, (), extra, ())


def _container(
    image: str,
    launch: Launch,
    args: tuple[str, ...],
    name: str,
    tty: tuple[str, ...],
    extra: tuple[str, ...],
    entrypoint: tuple[str, ...],
) -> tuple[str, ...]:
    """What stands after the verb: podman's options, the image and its arguments."""
    argv = ["--init", "--pull=never", "--name", name, "--network", "host", *tty]
    for key, value in launch.env:
        argv += ["--env", f"{key}={value}"]
    for mount in launch.mounts:
        argv += bind(mount)
    for port in launch.ports:
        argv += ["-p", port]
    if launch.workdir:
        argv += ["--workdir", launch.workdir]
    argv += extra
    command = entrypoint or launch.command
    if command:
        argv += ["--entrypoint", command[0]]
        return (*argv, image, *command[1:], *args)
    return (*argv, image, *args)


def run(argv: tuple[str, ...], name: str, meanwhile: Callable[[], None] = lambda: None) -> int:
    """Run the container called `name` on our terminal, and do `meanwhile`; the exit code is its script's.

    A signal goes to the container by `podman kill`: podman 4.3 returns 0 after it passed one on itself. A second
    SIGTERM kills.
    """
    ended = threading.Event()
    try:
        return process.foreground(
            process.in_cgroup2(argv), on_signal=_Signals(name, ended).pass_on, meanwhile=meanwhile
        )
    finally:
        ended.set()


def live(argv: tuple[str, ...], name: str, meanwhile: Callable[[], None] = lambda: None) -> int:
    """Be the container called `name` where a terminal is ours, so that nothing stands between; else as `run`.

    Whoever ends a shell at a terminal by a signal does not ask for its exit code, which podman 4.3 loses then.
    """
    if all(terminal()):
        with contextlib.suppress(OSError, OcicalibanError):
            meanwhile()
        process.become(process.in_cgroup2(argv))
    return run(argv, name, meanwhile)


class _Signals:
    """Hands signals to a container, which may not be there yet, until `ended` is set."""

    def __init__(self, name: str, ended: threading.Event) -> None:
        self._name = name
        self._ended = ended
        self._under_way: set[int] = set()
        self._terminated = False

    def pass_on(self, number: int) -> None:
        """Hand a signal on, without waiting for it; the same one while that is under way is not another."""
        if number in self._under_way:
            return  # `timeout` sends each of its own twice, to us and to our group
        again = number == signal.SIGTERM and self._terminated
        self._terminated = self._terminated or number == signal.SIGTERM
        self._under_way.add(number)
        threading.Thread(target=self._deliver, args=(number, again), daemon=True).start()

    def _deliver(self, number: int, again: bool) -> None:
        word = "KILL" if again else signal.Signals(number).name
        while not (process.ok(("podman", "kill", "--signal", word, self._name)) or self._ended.wait(0.1)):
            pass
        self._under_way.discard(number)


@functools.cache
def version() -> tuple[int, ...]:
    """The release of podman that is installed: (4, 3, 1). Raises OcicalibanError where there is none."""
    words = process.run(("podman", "--version")).split()
    return tuple(int(part) for part in words[-1].split(".")[:3] if part.isdigit())


LABEL = "ocicaliban."
"""What the labels of our containers begin with."""

JOB = f"{LABEL}job"
"""The label with a job's key."""


def labelled(labels: Mapping[str, str]) -> tuple[str, ...]:
    """podman's options that give a container these labels."""
    return tuple(word for name, value in labels.items() for word in ("--label", f"{name}={value}"))


def new_key() -> str:
    """A job's key, which no other has."""
    return os.urandom(6).hex()


def container_name(given: tuple[str, ...] = (), key: str = "") -> str:
    """The name of a container for the job with this key, or a fresh one, or that which the options `given` have."""
    for number, word in reversed([*enumerate(given)]):
        if word.startswith("--name="):
            return word.removeprefix("--name=")
        if word == "--name" and number + 1 < len(given):
            return given[number + 1]
    return f"ocicaliban-{key or new_key()}"


def terminal() -> tuple[bool, bool]:
    """Whether a container may read our stdin, and whether that and stdout are a terminal, which it then has.

    In the background a terminal would stop whoever reads it.
    """
    attended = process.attended()
    return attended or not os.isatty(0), attended and os.isatty(1)


UTF8 = {"LC_ALL": "C.UTF-8"}
"""The environment in which podman starts a container with a log: conmon takes no path beyond ASCII otherwise.

Of ours podman hands LC_* on to it, and not LANG (libpod's configureConmonEnv).
"""

_MOUNT = re.compile(r"(.*):(/[^:]*)(?::([^/:]*))?", re.S)

_QUOTED = {'"', ",", "\n", "\r"}


def bind(mount: str) -> tuple[str, ...]:
    """podman's option for a mount `SOURCE:TARGET[:OPTIONS]`; -v takes no source with a colon in its name."""
    match = _MOUNT.fullmatch(mount)
    if match is None or ":" not in match[1]:
        return "-v", mount
    words = ["type=bind", f"source={match[1]}", f"target={match[2]}"]
    if "ro" in (match[3] or "").split(","):
        words.append("readonly")
    return "--mount", record(*words)


def record(*words: str) -> str:
    """The words as a record of CSV, which is how podman reads some of its options."""
    return ",".join('"' + word.replace('"', '""') + '"' if _QUOTED & {*word} else word for word in words)


def parsed(mount: str) -> tuple[str, str, tuple[str, ...]] | None:
    """Source, target and options of a mount `SOURCE:TARGET[:OPTIONS]`, a bind that podman's API can have as well.

    None for one with options of podman's command line alone, such as `O` and `U`.
    """
    match = _MOUNT.fullmatch(mount)
    options = tuple(filter(None, (match[3] or "").split(","))) if match else ()
    return (match[1], match[2], options) if match and {*options} <= {"ro", "rw"} else None


def words(text: str) -> tuple[str, ...]:
    """The words of a `--podman-args` string, split as a shell would; raises UsageError for an open quote."""
    try:
        return tuple(shlex.split(text))
    except ValueError as exc:
        raise UsageError(f"--podman-args: {str(exc).lower()} in {text}", "close the quote, or escape it") from exc


_SHORT_ENV = re.compile(r"(-[diPqt]*e)=?(.*)", re.S)
"""podman's -e, perhaps after flags that take no value."""


def without_values(given: tuple[str, ...]) -> tuple[str, ...]:
    """The options `given` for podman, in which a variable has its name alone: podman takes its value from ours.

    So they can be kept in a file: a value may be a secret.
    """
    kept: list[str] = []
    for option, text in _variables(given):
        name = text.partition("=")[0]
        kept += [text] if not option else [option + name] if option.endswith("=") else [option, name]
    return tuple(kept)


def require_values(given: tuple[str, ...], environ: Mapping[str, str]) -> None:
    """See to it that each variable that the options `given` name without a value is in `environ`.

    podman itself leaves such a one out without a word. Raises UsageError naming the first.
    """
    for option, text in _variables(given):
        # NAME* passes on all that begin so.
        if option and "=" not in text and not text.endswith("*") and text not in environ:
            raise UsageError(f"--podman-args passes on the variable {text}, which is not set", f"export {text}=...")


def _variables(given: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Each -e or --env with what it says; another word comes with no option."""
    rest = iter(given)
    for word in rest:
        short = None if word.startswith("--") else _SHORT_ENV.fullmatch(word)
        if word.startswith("--env="):
            yield "--env=", word.removeprefix("--env=")
        elif short and short[2]:
            yield short[1], short[2]
        elif short or word == "--env":
            value = next(rest, None)
            yield ("", word) if value is None else (word, value)
        else:
            yield "", word


def entry_command(root: Path, module: str) -> tuple[str, ...]:
    """What MODULE starts: `trainer.train` by `python -m`, `trainer/train.py` by `python`, another file as it is.

    A module of the `src` layout is found by PYTHONPATH. A path may be absolute as long as it lies in the project.
    Raises UsageError when the project has no such module or file, or it cannot be started.
    """
    if not module:
        return ()
    path = os.path.normpath(root / module)
    if os.path.isabs(module):
        # The current folder's name has its links resolved, and the one that a shell completes may not.
        root, path = root.resolve(), os.path.realpath(path)
    name = os.path.relpath(path, root)
    if "/" in module or os.path.lexists(path):
        if name == ".." or name.startswith("../"):
            raise UsageError(f"'{module}' lies outside of the project {root}", "copy it into the project")
        if os.path.isfile(path):
            return _file_command(path, name)
    parts = module.split(".")
    if all(parts) and "/" not in module:
        for top, command in ((root, ("python3",)), (root / "src", _SRC_LAYOUT)):
            dotted = top.joinpath(*parts)
            if os.path.isfile(f"{dotted}.py") or os.path.isfile(dotted / "__main__.py"):
                return (*command, "-m", module)
    if os.path.isdir(path) and os.path.isfile(os.path.join(path, "__main__.py")):
        return ("python3", _no_option(name))
    raise _no_module(root, module, name)


# What images for others to build upon have as their command.
_BARE = {"sh", "bash", "dash", "python", "python3"}


def starts(entrypoint: Sequence[str], command: Sequence[str]) -> bool:
    """Whether a container with this entry point and command starts anything but a bare shell."""
    words = (*entrypoint, *command)
    return bool(words) and not words[0].startswith("-") and (len(words) > 1 or os.path.basename(words[0]) not in _BARE)


APP = "/usr/app"
"""Where the source lies in an image, by the recipes that provide it."""

# Only for a module that is nowhere else: a src/random.py on every PYTHONPATH would hide Python's own.
_SRC_LAYOUT = ("env", f"PYTHONPATH={APP}/src:{APP}", "python3")


def entry_files(command: tuple[str, ...]) -> tuple[str, ...]:
    """The paths in the project of which the command needs one; none for no command."""
    if not command:
        return ()
    if "-m" in command:
        path = command[-1].replace(".", "/")
        tops = ("src/",) if command[0] == "env" else ("",)
        return tuple(f"{top}{path}{end}" for top in tops for end in (".py", "/__main__.py"))
    path = os.path.normpath(command[-1])
    return path, f"{path}/__main__.py"


def _no_option(name: str) -> str:
    return f"./{name}" if name.startswith("-") else name


def _file_command(path: str, name: str) -> tuple[str, ...]:
    if name.lower().endswith(".py"):
        return ("python3", _no_option(name))
    if not os.stat(path).st_mode & 0o111:
        raise UsageError(f"'{name}' is neither a Python file nor executable", f"chmod +x {shlex.quote(name)}")
    with open(path, "rb") as file:
        first = file.readline(256)
    if first.startswith(b"#!") and first.endswith(b"\r\n"):
        raise UsageError(f"the lines of '{name}' end as on Windows, so that it cannot be started", "dos2unix " + name)
    if not first.startswith((b"#!", b"\x7fELF")):
        raise UsageError(f"'{name}' has no #! line, so that it cannot be started", "begin it with #!/bin/sh")
    return (f"./{name}",)


def _no_module(root: Path, module: str, name: str) -> UsageError:
    """The error for a module that is not there: what was probably meant, or what there is."""
    found = sorted(str(path.relative_to(root)) for path in (*root.glob("*.py"), *root.glob("*/*.py")))
    if os.path.isdir(root / name):
        inside = [file for file in found if file.startswith(f"{name}/")]
        return UsageError(
            f"'{module}' is a folder without a __main__.py", f"name a file in it: {', '.join(inside or found)[:400]}"
        )
    dotted = {file.removesuffix(".py").replace("/", "."): file for file in found}
    known = found if "/" in module or module.endswith(".py") else list(dotted)
    hint = nearest(module, known[:50]) if known else "run it in the project's folder"
    return UsageError(f"there is no module or file '{module}' in {root}", hint)
