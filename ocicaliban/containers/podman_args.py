"""Read the options that users pass to podman with --podman-args (pure)."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping

from ocicaliban.errors import UsageError

_SHORT_ENV = re.compile(r"(-[diPqt]*e)=?(.*)", re.S)
"""podman's -e, possibly after flags that take no value."""


def split(text: str) -> tuple[str, ...]:
    """Split the text of --podman-args as a shell would; raises UsageError for an unclosed quote."""
    try:
        return tuple(shlex.split(text))
    except ValueError as exc:
        raise UsageError(f"--podman-args: {str(exc).lower()} in {text}", "close the quote, or escape it") from exc


def without_values(given: tuple[str, ...]) -> tuple[str, ...]:
    """Return the options with only the names of variables: podman takes the values from our environment.

    A value may be a secret, and the options are written to files.
    """
    kept: list[str] = []
    for option, text in _variables(given):
        name = text.partition("=")[0]
        kept += [text] if not option else [option + name] if option.endswith("=") else [option, name]
    return tuple(kept)


def require_values(given: tuple[str, ...], environ: Mapping[str, str]) -> None:
    """Check that each variable that the options name without a value is set; podman ignores such a one silently.

    Raises UsageError naming the first one that is not in `environ`.
    """
    for option, text in _variables(given):
        # NAME* passes on all variables with this prefix.
        if option and "=" not in text and not text.endswith("*") and text not in environ:
            raise UsageError(f"--podman-args passes on the variable {text}, which is not set", f"export {text}=...")


def _variables(given: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Yield each -e or --env with its text; every other word comes with an empty option."""
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
