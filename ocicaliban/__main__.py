"""The program's entry: dispatches, and prints what goes wrong once."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys

from ocicaliban.errors import OcicalibanError, of_system

_COMPLETE = "_OCICALIBAN_COMPLETE"
_PIPE_CLOSED = 128 + signal.SIGPIPE  # what a shell makes of a tool that nobody reads any more

_REPLAYED = ("run", "shell")
"""The commands that `replay` knows; the others do not import it."""


def main(argv: list[str]) -> int:
    """Run the command line `argv` (without the program's name); returns the exit code."""
    # We live for a fraction of a second before a container runs: looking for rubbish only costs time. But a sweep, or
    # `status --watch`, may go on for days.
    gc.set_threshold(200_000)
    code = _run(argv)
    try:
        sys.stderr.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    try:
        sys.stdout.flush()
    except OSError as exc:
        # Python would try again at its end, and complain in its own words.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        if isinstance(exc, BrokenPipeError):
            return code or _PIPE_CLOSED
        return code or _told(of_system(exc))
    return code


def _told(fault: OcicalibanError) -> int:
    with contextlib.suppress(OSError):
        print(f"error: {fault.message}", file=sys.stderr)
        if fault.hint:
            print(f" hint: {fault.hint}", file=sys.stderr)
    return fault.exit_code


def _run(argv: list[str]) -> int:
    if argv == ["--version"]:
        # Answered before typer is imported: people and scripts ask it often.
        from ocicaliban import __version__

        print(f"ocicaliban {__version__}")
        return 0
    tools = bool(argv) and argv[0] not in _TELL
    if tools:
        _leave_out_lost_runtime_folder()
        _leave_out_usual_config_folder()
    cut = argv.index("--") if "--" in argv else len(argv)
    own, script = argv[:cut], argv[cut + 1 :]
    try:
        if tools and "--help" not in own:
            from ocicaliban.containers import user_namespace

            user_namespace.revive()
        if argv and argv[0] in _REPLAYED:
            from ocicaliban import replay

            code = replay.attempt(argv)
            if code is not None:
                return code
        from ocicaliban.cli.app import made
        from ocicaliban.cli.options import Given

        # Whoever completes a word asks for all of them.
        app = made("" if _COMPLETE in os.environ else next(iter(own), ""))
        app(args=own, prog_name="ocicaliban", obj=Given(argv, tuple(script)))
    except BrokenPipeError:
        return _PIPE_CLOSED
    except (OcicalibanError, OSError) as exc:
        if "--debug" in own:
            raise
        return _told(of_system(exc) if isinstance(exc, OSError) else exc)
    except KeyboardInterrupt:
        return 130
    except SystemExit as exc:
        if isinstance(exc.__context__, BrokenPipeError):
            return _PIPE_CLOSED
        # Some versions of typer make 1 of a Ctrl-C; a shell takes 130 for one.
        if type(exc.__context__).__name__ == "Abort":
            return 130
        return exc.code if isinstance(exc.code, int) else 1
    return 0


# Commands that start no tool, or look at just that.
_TELL = ("doctor", "layers", "--help")


def _leave_out_usual_config_folder() -> None:
    """Take XDG_CONFIG_HOME out where it says what is so without it: with it buildah 1.28 wants more of storage.conf."""
    folder, home = os.environ.get("XDG_CONFIG_HOME"), os.environ.get("HOME")
    if folder and home and os.path.normpath(folder) == os.path.join(os.path.normpath(home), ".config"):
        del os.environ["XDG_CONFIG_HOME"]


def _leave_out_lost_runtime_folder() -> None:
    """Take XDG_RUNTIME_DIR out of the environment where it is no folder of ours, as in many a job of Slurm and with su.

    podman starts no container then, and does well without one.
    """
    folder = os.environ.get("XDG_RUNTIME_DIR")
    if not folder or (os.path.isdir(folder) and os.stat(folder).st_uid == os.geteuid()):
        return
    del os.environ["XDG_RUNTIME_DIR"]
    print(f"note: XDG_RUNTIME_DIR is {folder}, which is no folder of yours; podman does without", file=sys.stderr)


def _end(number: int, _: object) -> None:
    """End as for a Ctrl-C: what is under way is ended and cleared up."""
    signal.signal(number, lambda *_: None)  # `timeout` sends its own twice: the second must not end the clearing up
    raise SystemExit(128 + number)


def _open_what_is_closed() -> None:
    """Give a closed stdin, stdout or stderr /dev/null, lest the next file that is opened takes its place."""
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is None:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
            os.set_inheritable(number, True)  # for the tools that we start as well
            setattr(sys, name, os.fdopen(number, mode))


def entry() -> None:
    """The console script."""
    _open_what_is_closed()
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _end)
    sys.exit(main(sys.argv[1:]))


if __name__ == "__main__":
    entry()
