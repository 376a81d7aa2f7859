"""The program's entry: dispatches, and prints what goes wrong once."""

from __future__ import annotations

import sys

from ocicaliban.errors import OcicalibanError, of_system


def main(argv: list[str]) -> int:
    """Run the command line `argv` (without the program's name); returns the exit code."""
    if argv == ["--version"]:
        # Answered before typer is imported: people and scripts ask it often.
        from ocicaliban import __version__

        print(f"ocicaliban {__version__}")
        return 0
    debug = "--debug" in argv[: argv.index("--")] if "--" in argv else "--debug" in argv
    try:
        from ocicaliban import hot

        code = hot.attempt(argv)
        if code is not None:
            return code
        from ocicaliban.cli.app import app

        app(args=argv, prog_name="ocicaliban", obj=argv)
    except (OcicalibanError, OSError) as exc:
        if debug:
            raise
        fault = of_system(exc) if isinstance(exc, OSError) else exc
        print(f"error: {fault.message}", file=sys.stderr)
        if fault.hint:
            print(f" hint: {fault.hint}", file=sys.stderr)
        return fault.exit_code
    except KeyboardInterrupt:
        return 130
    except SystemExit as exc:
        # Some versions of typer make 1 of a Ctrl-C; a shell takes 130 for one.
        if type(exc.__context__).__name__ == "Abort":
            return 130
        return exc.code if isinstance(exc.code, int) else 1
    return 0


def entry() -> None:
    """The console script."""
    sys.exit(main(sys.argv[1:]))


if __name__ == "__main__":
    entry()
