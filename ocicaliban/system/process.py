"""Run tools: to their end, for their answer, or on our terminal. Only this package imports subprocess."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from ocicaliban.errors import OcicalibanError, ToolError
from ocicaliban.system import crashes

_IDS = "it concerns the ids of users in containers: `ocicaliban doctor` tells which ones you have"
_HINTS = {
    "no space left on device": "free disk space: `podman system df` shows its use, `podman image rm` removes images",
    "newuidmap": _IDS,
    "subuid": _IDS,
    "unable to pick chroot mode": _IDS,  # mmdebstrap
    "e: failed to fetch http": "check that Debian's servers are reachable; a proxy is read from http_proxy",
    "unable to locate package": "search for the name with `apt-cache search`, in the base image's release",
    "system migrate": "the processes that kept podman's user namespace were killed: run `podman system migrate`",
    "hybrid mode": "the cgroups are in hybrid mode; see `ocicaliban doctor`",
}

_ONE_UID = re.compile(
    r"^.*level=\S+ msg=.*(no subuid ranges found|Using rootless single mapping|Found no [UG]ID ranges set aside"
    r"|is not a shared mount, this could cause issues).*\n?",
    re.M,
)
"""What podman and buildah say each time to a user without sub-ids, for whom they work all the same."""

_PASSWORD = re.compile(r"(?<=://)[^/\s]+@")
"""The user and password in a URL: older versions of uv, and scripts, print them."""


# --- tools and their ends ---


def on_path(name: str) -> str | None:
    """Return the path of a program on PATH, or None.

    As `shutil.which` does, whose module imports six others for archives: 5 ms at each start.
    """
    paths = (os.path.join(folder, name) for folder in os.get_exec_path())
    return next((path for path in paths if os.access(path, os.X_OK) and os.path.isfile(path)), None)


def tool(name: str) -> str:
    """Return the path of a tool: next to our own Python (uv is a dependency), or else on PATH.

    Raises OcicalibanError with the package to install if there is none.
    """
    own = Path(sys.prefix) / "bin" / name
    if own.is_file():
        return str(own)
    path = on_path(name)
    if path is None:
        from ocicaliban.system import installation  # nothing may slow down a replay

        how = installation.with_package("uv") if name == "uv" else f"sudo apt install {name}"
        raise OcicalibanError(f"{name} is not installed", f"install it, for example: {how}")
    return path


def ends_with_us() -> Callable[[], None]:
    """Return a function for a child to call so that it ends with us: no build step may go on when we are killed."""
    import ctypes  # takes a millisecond, and starting a container does not need it

    libc = ctypes.CDLL(None)

    def end_with_parent() -> None:
        libc.prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG

    return end_with_parent


# --- running a tool to its end ---


def run(
    argv: Sequence[str],
    *,
    env: Mapping[str, str | None] | None = None,
    cwd: Path | None = None,
    whole: bool = False,
    doing: str = "",
    hint: str = "",
    limit: float | None = None,
) -> str:
    """Run a tool to its end and return its stdout without the last newline.

    `env` is added to our own environment; None takes a variable out of it. With `whole`, for a tool that changes the
    image store, the tool finishes even if we are interrupted or killed; other tools end with us. Raises ToolError with
    the tool's stderr if it fails; `doing` is the error's first line, `hint` its hint unless the stderr suggests a
    better one. After `limit` seconds the tool is killed, which is a failure too.
    """
    # Only the main thread receives signals.
    delayed = whole and threading.current_thread() is threading.main_thread()
    with _signals_delayed() if delayed else contextlib.nullcontext():
        return _run(argv, env, cwd, whole, doing, hint, limit)


@contextlib.contextmanager
def _signals_delayed() -> Iterator[None]:
    """Delay signals that end us: while a tool is being started, they would leave a tool that nobody knows of."""
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
            # Even if the tool failed: a Ctrl-C that came before it had its own session was the cause.
            signal.raise_signal(came[0])


def _run(
    argv: Sequence[str],
    env: Mapping[str, str | None] | None,
    cwd: Path | None,
    whole: bool,
    doing: str,
    hint: str,
    limit: float | None,
) -> str:
    tool(argv[0])
    try:
        child = subprocess.Popen(
            list(argv),
            env={k: v for k, v in {**os.environ, **env}.items() if v is not None} if env is not None else None,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            close_fds=False,  # the tool keeps the lock of a workspace; all our other files close by themselves
            start_new_session=whole,
            preexec_fn=None if whole else ends_with_us(),
        )
    except OSError as exc:
        raise ToolError(f"{argv[0]} cannot be started: {exc.strerror}") from exc
    with child:
        try:
            out, stderr = child.communicate(timeout=limit)
        except subprocess.TimeoutExpired as exc:
            child.kill()
            message = f"{doing or f'{_shown(argv[:2])} failed'}: no answer within {limit:g} seconds"
            hint = hint or f"run `{_shown(argv)}`; it may wait for a network disk, or a lock"
            raise ToolError(message, hint) from exc
        except (KeyboardInterrupt, SystemExit):
            child.terminate()
            child.communicate()
            raise
    if child.returncode:
        stderr = _PASSWORD.sub("****@", _ONE_UID.sub("", stderr)).strip()
        hint = next((text for sign, text in _HINTS.items() if sign in stderr.lower()), hint)
        message = doing or f"{_shown(argv[:2])} failed"
        told = crashes.shortened(stderr, argv[0])
        raise ToolError(f"{message}\n{told}" if told else message, hint, stderr=stderr)
    return out.rstrip("\n")


def _shown(argv: Sequence[str]) -> str:
    import shlex  # only a fault needs it

    return shlex.join(argv)


def ask(argv: Sequence[str], question: str = "", *, limit: float) -> str:
    """Run a tool with `question` on its stdin, and return its stdout.

    For tools that change nothing: one goes on to its end when we are killed. Raises ToolError if it fails, or does
    not end within `limit` seconds. The message does not contain the stdout, which may be secret; the error's `stderr`
    does, because credential helpers report there that they have no login.
    """
    tool(argv[0])
    try:
        done = subprocess.run(
            list(argv), input=question, capture_output=True, check=False, text=True, errors="replace", timeout=limit
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        why = exc.strerror if isinstance(exc, OSError) else f"no answer within {limit:g} seconds"
        raise ToolError(f"{_shown(argv)}: {why}", f"run `{_shown(argv)}` to see why") from exc
    if done.returncode:
        words = _PASSWORD.sub("****@", done.stderr).strip()
        raise ToolError(
            f"{_shown(argv)} failed{f': {words}' if words else ''}",
            f"run `{_shown(argv)}` to see why",
            stderr=f"{done.stderr}\n{done.stdout}",
        )
    return done.stdout


def run_logged(argv: Sequence[str], log: Path) -> int:
    """Run a tool to its end with its stdout and stderr appended to the file `log`; return its exit code.

    For threads: it does not react to signals, and the tool goes on when we are killed.
    """
    tool(argv[0])
    with log.open("ab") as file:
        return subprocess.run(
            list(argv), stdin=subprocess.DEVNULL, stdout=file, stderr=file, check=False, start_new_session=True
        ).returncode


def ok(argv: Sequence[str]) -> bool:
    """Run a tool to its end without its output; return whether it succeeds."""
    tool(argv[0])
    return subprocess.run(list(argv), stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode == 0


def output(argv: Sequence[str], *, errors: bool = False) -> str:
    """Run a tool to its end, and return its stdout even if it fails; with `errors` its stderr too."""
    tool(argv[0])
    stderr = subprocess.STDOUT if errors else subprocess.DEVNULL
    return subprocess.run(
        list(argv), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr, check=False, text=True
    ).stdout


# --- a tool on our terminal ---

# USR1 and USR2 are how a cluster tells a job to save its state.
_FORWARDED = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
_BY_KERNEL = 0x80  # SI_KERNEL: a signal of the terminal, which reaches every process of its foreground group


def run_in_foreground(
    argv: Sequence[str], *, on_signal: Callable[[int], None], meanwhile: Callable[[], None] = lambda: None
) -> int:
    """Run `argv` on our own terminal until it ends; return its exit code.

    `meanwhile` is called after the start, for work that must not delay it; its faults do not affect the run. Signals
    that we receive are given to `on_signal` instead of ending us, except those that our parent has set to be ignored
    (nohup). If stdin is our terminal, the child is in our process group, and a Ctrl-C reaches it directly; otherwise it
    has its own group, so that no signal reaches it twice.
    """
    tool(argv[0])
    shared = has_terminal()
    forwarded = {number for number in _FORWARDED if signal.getsignal(number) != signal.SIG_IGN}
    # Blocked signals wait for us, even those that come before there is a child; a handler might run too early or late.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {*forwarded, signal.SIGCHLD})

    def unblocked() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

    try:
        child = subprocess.Popen(list(argv), process_group=None if shared else 0, preexec_fn=unblocked)
        try:
            with contextlib.suppress(OSError, OcicalibanError):
                meanwhile()
        finally:
            while (code := child.poll()) is None:
                came = signal.sigwaitinfo({*forwarded, signal.SIGCHLD})
                by_terminal = shared and came.si_signo == signal.SIGINT and came.si_code == _BY_KERNEL
                if came.si_signo != signal.SIGCHLD and not by_terminal:
                    on_signal(came.si_signo)
    finally:
        unblocked()
    return 128 - code if code < 0 else code


_PATIENCE = 10.0  # seconds that a program has for its end


def run_until(
    argv: Sequence[str],
    over: Callable[[], bool],
    pause: float,
    tell: Callable[[str], None] = lambda line: None,
    patience: float = _PATIENCE,
) -> int | None:
    """Run a program of ours as a part of this one; return its exit code, None if it was ended because `over` says so.

    `over` is asked every `pause` seconds. The program is ended as by Ctrl-C. If it goes on for `patience` seconds, it
    gets SIGTERM until it ends, and `tell` a line: the second SIGTERM kills its container. A Ctrl-C reaches it by
    itself, and ends this function when the program has ended.
    """
    child = subprocess.Popen(argv)
    try:
        while True:
            try:
                return child.wait(pause)
            except subprocess.TimeoutExpired:
                if over():
                    child.send_signal(signal.SIGINT)
                    _await_end(child, tell, patience)
                    return None
    finally:
        if child.poll() is None:
            with contextlib.suppress(KeyboardInterrupt):
                child.wait()


def _await_end(child: subprocess.Popen[bytes], tell: Callable[[str], None], patience: float) -> None:
    for again in itertools.chain(("",), itertools.repeat(" again")):
        try:
            child.wait(patience)
            return
        except subprocess.TimeoutExpired:
            tell(f"the run has not ended within {patience:g} s; it gets SIGTERM{again}")
            child.send_signal(signal.SIGTERM)


def has_terminal() -> bool:
    """Return whether stdin is a terminal that we may read; a process in the background would be stopped."""
    try:
        return os.isatty(0) and os.tcgetpgrp(0) == os.getpgrp()
    except OSError:
        return True  # a terminal that controls another session


def replace_process(argv: Sequence[str]) -> NoReturn:
    """Replace our process by a tool, so that the tool has the terminal to itself."""
    tool(argv[0])
    sys.stdout.flush()
    sys.stderr.flush()
    # Python ignores these signals, and the tool would inherit that.
    for ignored in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(ignored, signal.SIG_DFL)
    os.execvp(argv[0], list(argv))
