"""The entry point of the program: runs the command line, and prints an error once."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ocicaliban.errors import OcicalibanError, UsageError, is_about_room, of_system

if TYPE_CHECKING:
    from ocicaliban.jobs.single_run import Place

_COMPLETE = "_OCICALIBAN_COMPLETE"
_PIPE_CLOSED = 128 + signal.SIGPIPE  # the exit code that a shell gives to a tool whose reader is gone

_CONTINUED = "\n       "
"""Further lines of a hint begin below its first word."""

_LONGEST_VALUE = 1000
"""Characters of a line in a message about a wrong value, of which the beginning is enough."""

_REPLAYED = ("run", "shell")
"""The commands that `replay` knows; the others do not import it."""


def main(argv: list[str]) -> int:
    """Run the command line `argv`, without the program's name, and return the exit code."""
    # We run for a fraction of a second before a container does, so collecting garbage early only costs time. A sweep or
    # `status --watch` may run for days, so it is not switched off.
    gc.set_threshold(200_000)
    code = _run(argv)
    try:
        sys.stderr.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    try:
        sys.stdout.flush()
    except OSError as exc:
        # Python would try to flush again when it exits, and print an error of its own. So stdout becomes /dev/null.
        if isinstance(exc, BrokenPipeError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            return code or _PIPE_CLOSED
        with contextlib.suppress(OSError):
            exc.filename = exc.filename or os.readlink("/proc/self/fd/1")
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return code or _report(of_system(exc))
    return code


def _report(fault: OcicalibanError) -> int:
    """Print an error and its hint, and return its exit code."""
    from ocicaliban.formats import colours
    from ocicaliban.formats.text import LONGEST, shown

    if is_about_room(fault):
        from ocicaliban.containers import disk_use

        fault = disk_use.explained(fault)
    # A tool's explanation has long lines; in our own message, what is long is a value.
    longest = _LONGEST_VALUE if isinstance(fault, UsageError) else LONGEST
    error, hint = "error:", " hint:"
    if colours.wanted(sys.stderr):
        error, hint = colours.painted(error, "red bold"), colours.painted(hint, "bold")
    with contextlib.suppress(OSError):
        print(error, shown(fault.message, longest=longest), file=sys.stderr)
        if fault.hint:
            print(hint, shown(fault.hint.replace("\n", _CONTINUED)), file=sys.stderr)
    return fault.exit_code


def _run(argv: list[str]) -> int:
    if argv == ["--version"]:
        # Answered before typer is imported, because people and scripts ask often.
        from ocicaliban import __version__

        print(f"ocicaliban {__version__}")
        return 0
    uses_tools = bool(argv) and argv[0] not in _WITHOUT_TOOLS
    if uses_tools:
        _drop_lost_runtime_folder()
        _drop_default_config_folder()
    cut = argv.index("--") if "--" in argv else len(argv)
    own, script = argv[:cut], argv[cut + 1 :]
    try:
        if uses_tools and not {"--help", "-h"} & {*own}:
            from ocicaliban.containers import user_namespace, usual_store
            from ocicaliban.system import files

            files.make_private()
            if not usual_store.serves():
                from ocicaliban.containers import own_store

                own_store.set_up()
            user_namespace.revive()
        if argv and argv[0] in _REPLAYED:
            from ocicaliban import replay

            code = replay.attempt(argv, _explain)
            if code is not None:
                return code
        if "--debug" not in own and not sys.warnoptions:
            import warnings  # typer imports it anyway

            # They tell the authors of a library about a pattern in .gitignore, say, and no user what to do.
            warnings.simplefilter("ignore")
        from ocicaliban.cli.app import application
        from ocicaliban.cli.options import CommandLine

        # Completion needs all commands.
        app = application("" if _COMPLETE in os.environ else next(iter(own), ""))
        app(args=own, prog_name="ocicaliban", obj=CommandLine(argv, tuple(script)))
    except BrokenPipeError:
        return _PIPE_CLOSED
    except (OcicalibanError, OSError, MemoryError) as exc:
        if "--debug" in own:
            raise
        return _report(_ours(exc))
    except KeyboardInterrupt:
        return 130
    except SystemExit as exc:
        if isinstance(exc.__context__, BrokenPipeError):
            return _PIPE_CLOSED
        # Some versions of typer exit with 1 after a Ctrl-C; shells expect 130.
        if type(exc.__context__).__name__ == "Abort":
            return 130
        return exc.code if isinstance(exc.code, int) else 1
    return 0


def _ours(fault: OcicalibanError | OSError | MemoryError) -> OcicalibanError:
    if isinstance(fault, MemoryError):
        hint = "is one of the files that it reads far too large? --debug shows where it was"
        return OcicalibanError("this machine has not enough memory for this command", hint)
    return of_system(fault) if isinstance(fault, OSError) else fault


def _explain(place: Place, code: int, submission: Mapping[str, Any]) -> None:
    from ocicaliban.app import run_one

    run_one.explain(place, code, submission)


# Commands that run no tool, or check just that.
_WITHOUT_TOOLS = ("doctor", "init", "layers", "--help", "-h")


def _drop_default_config_folder() -> None:
    """Remove XDG_CONFIG_HOME from the environment if it is the default: buildah 1.28 is stricter when it is set."""
    folder, home = os.environ.get("XDG_CONFIG_HOME"), os.environ.get("HOME")
    if folder and home and os.path.normpath(folder) == os.path.join(os.path.normpath(home), ".config"):
        del os.environ["XDG_CONFIG_HOME"]


def _drop_lost_runtime_folder() -> None:
    """Remove XDG_RUNTIME_DIR from the environment if it is not a folder of the user, as in many Slurm jobs or with su.

    podman starts no container with such a folder, and works without one.
    """
    folder = os.environ.get("XDG_RUNTIME_DIR")
    if not folder or (os.path.isdir(folder) and os.stat(folder).st_uid == os.geteuid()):
        return
    del os.environ["XDG_RUNTIME_DIR"]
    from ocicaliban.formats.text import shown

    print(
        shown(f"note: XDG_RUNTIME_DIR is {folder}, which does not belong to you; podman runs without it"),
        file=sys.stderr,
    )


def _end(number: int, _: object) -> None:
    """End as after a Ctrl-C: stop what is under way and clean up."""
    signal.signal(number, lambda *_: None)  # `timeout` sends its signal twice; the second must not end the cleanup
    raise SystemExit(128 + number)


def _open_what_is_closed() -> None:
    """Open /dev/null as a closed stdin, stdout or stderr, so that no other file gets its number."""
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is None:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
            os.set_inheritable(number, True)  # the tools that we run get it too
            setattr(sys, name, os.fdopen(number, mode))


def entry() -> None:
    """Run the console script."""
    _open_what_is_closed()
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _end)
    sys.exit(main(sys.argv[1:]))


if __name__ == "__main__":
    entry()
