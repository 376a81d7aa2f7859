"""The program's entry: dispatches, and prints what goes wrong once."""

from __future__ import annotations

import sys

from ocicaliban.errors import OcicalibanError


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
    except OcicalibanError as exc:
        if debug:
            raise
        print(f"error: {exc.message}", file=sys.stderr)
        if exc.hint:
            print(f" hint: {exc.hint}", file=sys.stderr)
        return exc.exit_code
    except KeyboardInterrupt:
        return 130
    except SystemExit as exc:
        return exc.code if isinstance(exc.code, int) else 1
    return 0


def entry() -> None:
    """The console script."""
    sys.exit(main(sys.argv[1:]))


if __name__ == "__main__":
    entry()
