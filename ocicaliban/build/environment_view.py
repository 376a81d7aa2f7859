"""Show what a project's files declare, as a line and as JSON; pure."""

from __future__ import annotations

from ocicaliban.dependencies.environment import DeclaredEnvironment


def line(environment: DeclaredEnvironment, packages: int, python: str) -> str:
    """Return the line about the source of the dependencies.

    `packages` is how many packages they are, and `python` the version of the environment's Python, "" if the base
    image is not resolved yet.
    """
    words = [environment.source or "none"]
    if environment.source:
        words.append(f"{packages} package{'' if packages == 1 else 's'}" if python else "not resolved yet")
    version = ".".join(python.split(".")[:2])
    return f"dependencies: {', '.join(words)}" + (f"; Python {version}" if version else "")


def as_json(environment: DeclaredEnvironment, packages: int, python: str, reason: str) -> dict[str, object]:
    """Return the environment as values for `--json`; what is unknown until the base image is resolved is null.

    `reason` says why it has this Python.
    """
    return {
        "source": environment.source or None,
        "packages": packages if python else None,
        "python": python or None,
        "python_reason": reason or None,
        "files": [
            {"path": file.path, "use": file.use, "setting": file.setting or None, "why": file.why or None}
            for file in environment.files
        ],
    }
