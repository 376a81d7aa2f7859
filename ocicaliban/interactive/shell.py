"""The user's shell, and podman's options for a container to work in interactively (pure)."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from pathlib import Path

from ocicaliban.containers import command_line
from ocicaliban.errors import UsageError

SHELLS = ("bash", "zsh", "fish")
HOME_VARIABLES = ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "ZDOTDIR")
"""Variables that may name folders with the user's settings."""

_FOLDER = "/run/ocicaliban"
"""Where the files of the recipe `shell` are mounted in the container."""


def choose(asked: str, environ: Mapping[str, str]) -> str:
    """Return the name of the shell to start: the one `asked` for, or the user's own, or bash if that is unknown.

    Raises UsageError if the one asked for is unknown.
    """
    name = posixpath.basename(asked or environ.get("SHELL", ""))
    if name in SHELLS:
        return name
    if asked:
        raise UsageError(f"--shell: ocicaliban does not know the shell '{asked}'", "use bash, zsh or fish")
    return "bash"


def package(name: str) -> str:
    """Return the Debian package of a shell; "" for bash, which every base image has."""
    return "" if name == "bash" else name


def home(environ: Mapping[str, str]) -> Path | None:
    """Return the user's home folder; None if it cannot be mounted at its own path."""
    path = Path(environ.get("HOME", ""))
    return path if path.is_absolute() and path.is_dir() and path != Path("/") else None


def entrypoint(name: str) -> tuple[str, ...]:
    """Return the entry point that starts a shell, or runs the command whose words follow."""
    return "/bin/sh", f"{_FOLDER}/enter", name


def options(project: str, files: Path, home: Path | None, environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return podman's options for a shell in a project called `project`.

    They mount `files`, the files for the shells, and the `home` folder if there is one, and set the locale and the name
    in the prompt.
    """
    # The shells expand the prompt: the name must not contain characters that mean something to them.
    name = re.sub(r"[^\w.+-]", "_", project) or "project"
    # Otherwise podman holds back Ctrl-P until the next key is pressed.
    words = ["--detach-keys="]
    words += [*command_line.mount_option(f"{files}:{_FOLDER}:ro"), "--env", f"OCICALIBAN_PROJECT={name}"]
    locale = environ.get("LC_ALL") or environ.get("LC_CTYPE") or environ.get("LANG", "")
    if locale:
        words += ["--env", f"OCICALIBAN_LOCALE={locale}"]
    return *words, *home_options(home, environ)


def home_options(home: Path | None, environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return podman's options that mount the `home` folder, if there is one, and let the container read it."""
    # With SELinux a container can read only files labelled for it, and a home folder must not be relabelled.
    words = ["--security-opt", "label=disable"]
    if home is not None:
        # What pip installed for the user is for the host's Python, and jobs would not see it.
        words += [*command_line.mount_option(f"{home}:{home}"), "--env", f"HOME={home}", "--env", "PYTHONNOUSERSITE=1"]
        values = ((name, environ.get(name, "")) for name in HOME_VARIABLES)
        words += [word for name, at in values if Path(at).is_relative_to(home) for word in ("--env", f"{name}={at}")]
    return tuple(words)
