"""Which shell one lives in, and what podman is told to make a container a place to live in; pure."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from pathlib import Path

from ocicaliban.containers import command_line
from ocicaliban.errors import UsageError

KNOWN = ("bash", "zsh", "fish")
PLACES = ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "ZDOTDIR")
"""Where in the home folder the user's settings may lie, told by the environment."""

_INSIDE = "/run/ocicaliban"
"""Where the container sees the files that the recipe `shell` has for the shells."""


def choose(asked: str, environ: Mapping[str, str]) -> str:
    """The name of the shell that is asked for, or else of the user's own, where it is one of `KNOWN`, or else bash.

    Raises UsageError when one is asked for that is not known.
    """
    name = posixpath.basename(asked or environ.get("SHELL", ""))
    if name in KNOWN:
        return name
    if asked:
        raise UsageError(f"--shell: '{asked}' is none that ocicaliban knows", "bash, zsh or fish")
    return "bash"


def package(name: str) -> str:
    """The Debian package that brings a shell; "" for bash, which every base has."""
    return "" if name == "bash" else name


def home(environ: Mapping[str, str]) -> Path | None:
    """The user's home folder, where it can be mounted at its own path."""
    path = Path(environ.get("HOME", ""))
    return path if path.is_absolute() and path.is_dir() and path != Path("/") else None


def entrypoint(name: str) -> tuple[str, ...]:
    """What the container starts: the shell, or the command whose words come after these."""
    return "/bin/sh", f"{_INSIDE}/enter", name


def options(project: str, files: Path, home: Path | None, environ: Mapping[str, str]) -> tuple[str, ...]:
    """podman's options: the shells' `files`, the name for the prompt, the locale, the home folder if there is one."""
    # The prompt is expanded by the shells: a name may not hold what means something to them.
    name = re.sub(r"[^\w.+-]", "_", project) or "project"
    # podman would keep Ctrl-P to itself until the next key is pressed.
    words = ["--detach-keys="]
    words += [*command_line.mount_option(f"{files}:{_INSIDE}:ro"), "--env", f"OCICALIBAN_PROJECT={name}"]
    locale = environ.get("LC_ALL") or environ.get("LC_CTYPE") or environ.get("LANG", "")
    if locale:
        words += ["--env", f"OCICALIBAN_LOCALE={locale}"]
    return *words, *lived_in(home, environ)


def lived_in(home: Path | None, environ: Mapping[str, str]) -> tuple[str, ...]:
    """podman's options that let a container see the user's folders, and have the home folder if there is one."""
    # Where SELinux is on, a container sees what was labelled for it; nobody's home must be relabelled.
    words = ["--security-opt", "label=disable"]
    if home is not None:
        # What pip installed for the user is for the host's Python, and no job would see it.
        words += [*command_line.mount_option(f"{home}:{home}"), "--env", f"HOME={home}", "--env", "PYTHONNOUSERSITE=1"]
        places = ((name, environ.get(name, "")) for name in PLACES)
        words += [word for name, at in places if Path(at).is_relative_to(home) for word in ("--env", f"{name}={at}")]
    return tuple(words)
