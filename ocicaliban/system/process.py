"""Runs the system's tools; the only module that imports subprocess."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from ocicaliban.errors import OcicalibanError, ToolError

_NO_SUBUIDS = "this user has no sub-uid range: ask for a line in /etc/subuid and /etc/subgid (`ocicaliban doctor`)"
_HINTS = {
    "no space left on device": "make room: `podman system df` shows what takes it, `podman image rm` removes images",
    "newuidmap": _NO_SUBUIDS,
    "subuid": _NO_SUBUIDS,
    "unable to pick chroot mode": _NO_SUBUIDS,  # mmdebstrap
    "e: failed to fetch http": "are Debian's servers within reach? a proxy is taken from http_proxy",
    "unable to locate package": "look the name up with `apt-cache search`, for the release that the base has",
    "system migrate": "the processes that kept podman's user namespace were killed: `podman system migrate` mends that",
    "hybrid mode": "the cgroups are in hybrid mode; see `ocicaliban doctor`",
}

_PASSWORD = re.compile(r"(?<=://)[^/\s]+@")
"""The user and password in an address: older versions of uv, and scripts, print them."""


def on_path(name: str) -> str | None:
    """Return the path of a program on PATH, or None.

    As `shutil.which` does, whose module imports six others for archives: 5 ms at each start.
    """
    paths = (os.path.join(folder, name) for folder in os.get_exec_path())
    return next((path for path in paths if os.access(path, os.X_OK) and os.path.isfile(path)), None)


def tool(name: str) -> str:
    """The path of a tool; beside our own Python first (uv comes as a dependency), then on PATH.

    Raises OcicalibanError with the package to install when it is nowhere.
    """
    beside = Path(sys.prefix) / "bin" / name
    if beside.is_file():
        return str(beside)
    found = on_path(name)
    if found is None:
        how = "pip install uv" if name == "uv" else f"sudo apt install {name}"
        raise OcicalibanError(f"{name} is not installed", f"install it, for example: {how}")
    return found


def hybrid_cgroups(root: Path = Path("/sys/fs/cgroup")) -> bool:
    """Whether cgroups v1 and v2 are both mounted, which crun refuses."""
    return (root / "unified").is_dir() and not (root / "cgroup.controllers").exists()


def in_cgroup2(argv: Sequence[str]) -> tuple[str, ...]:
    """`argv`, on a hybrid machine inside a private mount namespace in which only cgroup v2 is seen (no root needed).

    podman, asked by root, has no namespace of users to enter.
    """
    if not hybrid_cgroups():
        return tuple(argv)
    script = 'mount -t cgroup2 cgroup2 /sys/fs/cgroup && exec "$@"'
    if "XDG_CONFIG_HOME" not in os.environ:
        # podman sets it to the usual folder, and with it buildah 1.28 wants a runroot in storage.conf.
        script = f"unset XDG_CONFIG_HOME; {script}"
    ours = ("podman", "unshare") if os.geteuid() else ()
    return (*ours, "unshare", "-mC", "sh", "-c", script, "_", *argv)


def _dying_with_us() -> Callable[[], None]:
    """What a child calls so that it ends with us: a build step must not go on when we are killed."""
    import ctypes  # takes a millisecond, and no container needs it

    libc = ctypes.CDLL(None)

    def dies_with_us() -> None:
        libc.prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG

    return dies_with_us


def run(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    whole: bool = False,
    doing: str = "",
    hint: str = "",
    limit: float | None = None,
) -> str:
    """Run a tool to its end and return its stdout without the last line end.

    A tool that changes the image store is let finish what it began (`whole`), whatever happens to us; others end
    with us. Raises ToolError with the tool's own words where it fails; `doing` says what it was about, `hint` what to
    do where its words tell no better. After `limit` seconds it is killed, which is a failure too.
    """
    with _ending_held() if whole else contextlib.nullcontext():
        return _run(argv, env, cwd, whole, doing, hint, limit)


@contextlib.contextmanager
def _ending_held() -> Iterator[None]:
    """Let a signal that ends us wait: in the middle of starting a tool it would leave one that nobody knows of."""
    came: list[int] = []
    before = {
        number: signal.signal(number, lambda number, _: came.append(number))
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if came:
            # Also where the tool failed: before it had a session of its own the Ctrl-C was its end.
            signal.raise_signal(came[0])


def _run(
    argv: Sequence[str],
    env: Mapping[str, str] | None,
    cwd: Path | None,
    whole: bool,
    doing: str,
    hint: str,
    limit: float | None,
) -> str:
    full = {**os.environ, **env} if env is not None else None
    tool(argv[0])
    try:
        child = subprocess.Popen(
            list(argv),
            env=full,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            close_fds=False,  # the lock of a workplace stays with the tool; all else of ours closes by itself
            start_new_session=whole,
            preexec_fn=None if whole else _dying_with_us(),
        )
    except OSError as exc:
        raise ToolError(f"{argv[0]} cannot be started: {exc.strerror}") from exc
    with child:
        try:
            out, stderr = child.communicate(timeout=limit)
        except subprocess.TimeoutExpired as exc:
            child.kill()
            message = f"{doing or f'{shlex.join(argv[:2])} failed'}: no answer within {limit:g} seconds"
            raise ToolError(message, hint or "run it by hand; does it wait for a network disk, or a lock?") from exc
        except (KeyboardInterrupt, SystemExit):
            child.terminate()
            child.communicate()
            raise
    if child.returncode:
        stderr = _PASSWORD.sub("****@", stderr).strip()
        hint = next((known for sign, known in _HINTS.items() if sign in stderr.lower()), hint)
        message = doing or f"{shlex.join(argv[:2])} failed"
        raise ToolError(f"{message}\n{stderr}" if stderr else message, hint, stderr=stderr)
    return out.rstrip("\n")


def logged(argv: Sequence[str], log: Path) -> int:
    """Run a tool to its end with all that it says at the end of the file `log`; returns its exit code.

    For threads: it takes no signals, and what it started goes on when we are killed.
    """
    tool(argv[0])
    with log.open("ab") as said:
        return subprocess.run(
            list(argv), stdin=subprocess.DEVNULL, stdout=said, stderr=said, check=False, start_new_session=True
        ).returncode


def answer(argv: Sequence[str], question: str, *, limit: float) -> str:
    """What a tool answers on stdout to a `question` on its stdin.

    Raises ToolError where it fails, or gives no answer within `limit` seconds; its stdout, which may be secret, is no
    part of that, but credential helpers say there that they know nothing, so `stderr` has it too.
    """
    tool(argv[0])
    try:
        done = subprocess.run(list(argv), input=question, capture_output=True, check=False, text=True, timeout=limit)
    except (OSError, subprocess.TimeoutExpired) as exc:
        why = exc.strerror if isinstance(exc, OSError) else f"no answer within {limit:g} seconds"
        raise ToolError(f"{shlex.join(argv)}: {why}", f"run it by hand: {shlex.join(argv)}") from exc
    if done.returncode:
        words = _PASSWORD.sub("****@", done.stderr).strip()
        raise ToolError(
            f"{shlex.join(argv)} failed{f': {words}' if words else ''}",
            f"run it by hand: {shlex.join(argv)}",
            stderr=f"{done.stderr}\n{done.stdout}",
        )
    return done.stdout


def ok(argv: Sequence[str]) -> bool:
    """Whether a tool's command succeeds; its output is dropped."""
    tool(argv[0])
    return subprocess.run(list(argv), stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode == 0


def output(argv: Sequence[str], *, errors: bool = False) -> str:
    """A tool's stdout, whether it succeeds or not; with `errors` what it writes to stderr is in it."""
    tool(argv[0])
    stderr = subprocess.STDOUT if errors else subprocess.DEVNULL
    return subprocess.run(
        list(argv), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr, check=False, text=True
    ).stdout


@contextlib.contextmanager
def waiting(argv: Sequence[str]) -> Iterator[Callable[[float | None], bool]]:
    """Start a tool that waits for something; what is given tells whether it ended within so many seconds.

    A Ctrl-C at the terminal does not reach it; it is ended at the end.
    """
    tool(argv[0])
    dies_with_us = _dying_with_us()
    # What a handler raises while Python forks is lost: signals have to wait until it is done.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))

    def begin() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        dies_with_us()

    try:
        child = subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=begin,
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def ended(limit: float | None) -> bool:
        try:
            child.wait(limit)
        except subprocess.TimeoutExpired:
            return False
        return True

    try:
        yield ended
    finally:
        child.terminate()
        child.wait()


class Background:
    """A tool that works for us until it is stopped; what it says on stderr goes to the file `words`.

    `env` is put on top of our own environment.

    It has a session of its own, so that a Ctrl-C at the terminal does not reach it, and it is not ended with the
    thread that started it. One that outlives our sudden death has to end itself.
    """

    def __init__(self, argv: Sequence[str], words: Path, env: Mapping[str, str]) -> None:
        tool(argv[0])
        with open(words, "wb") as file:
            self._child = subprocess.Popen(
                list(argv),
                env={**os.environ, **env},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=file,
                start_new_session=True,
            )

    def ended(self, limit: float) -> bool:
        """Whether it ended within so many seconds."""
        try:
            self._child.wait(limit)
        except subprocess.TimeoutExpired:
            return False
        return True

    def stop(self) -> None:
        """End it and what it has started in its group, and wait for it."""
        for number, limit in ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)):
            if self._child.poll() is None:
                # `podman unshare` hands no signal on (see `in_cgroup2`).
                os.killpg(self._child.pid, number)
                self.ended(limit)


# What is passed on: USR1 and USR2 are a cluster's word that a job shall save its state.
_PASSED_ON = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
_BY_KERNEL = 0x80  # SI_KERNEL: a terminal's own signal, which goes to every process of its foreground group


def foreground(
    argv: Sequence[str], *, on_signal: Callable[[int], None], meanwhile: Callable[[], None] = lambda: None
) -> int:
    """Run `argv` on our own terminal until it ends; returns its exit code.

    `meanwhile` is called once it has started: what need not be done before costs nobody time there, and what fails of
    it is no fault of the run. The signals that are sent to us meanwhile are handed to `on_signal` instead of ending
    us, except those that whoever started us has us ignore (nohup). Where stdin is our terminal, the child is in our
    process group and Ctrl-C reaches it by itself; elsewhere in one of its own, so that nothing reaches it twice.
    """
    tool(argv[0])
    shared = attended()
    passed_on = {number for number in _PASSED_ON if signal.getsignal(number) != signal.SIG_IGN}
    # Blocked they wait for us, also those that come before there is a child; a handler could be too early or too late.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {*passed_on, signal.SIGCHLD})

    def unblocked() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

    try:
        child = subprocess.Popen(list(argv), process_group=None if shared else 0, preexec_fn=unblocked)
        try:
            with contextlib.suppress(OSError, OcicalibanError):
                meanwhile()
        finally:
            while (code := child.poll()) is None:
                came = signal.sigwaitinfo({*passed_on, signal.SIGCHLD})
                by_terminal = shared and came.si_signo == signal.SIGINT and came.si_code == _BY_KERNEL
                if came.si_signo != signal.SIGCHLD and not by_terminal:
                    on_signal(came.si_signo)
    finally:
        unblocked()
    return 128 - code if code < 0 else code


def attended() -> bool:
    """Whether our stdin is a terminal that we may read: in the background that would stop us."""
    try:
        return os.isatty(0) and os.tcgetpgrp(0) == os.getpgrp()
    except OSError:
        return True  # a terminal that controls another session


def become(argv: Sequence[str]) -> NoReturn:
    """Replace our process by a tool, so that nothing stands between it and the terminal."""
    tool(argv[0])
    sys.stdout.flush()
    sys.stderr.flush()
    # Python ignores them, and what comes in its place would too.
    for ignored in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(ignored, signal.SIG_DFL)
    os.execvp(argv[0], list(argv))
