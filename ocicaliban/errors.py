"""What goes wrong, said once: a message, a hint, an exit code."""

from __future__ import annotations


class OcicalibanError(Exception):
    """A fault that the user can act on.

    `message` says what is wrong, `hint` what to do; `exit_code` is 1 for ours and 2 for wrong usage.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(OcicalibanError):
    """The command line, or a file that the user writes, asks for something that does not exist."""

    exit_code = 2


class ToolError(OcicalibanError):
    """A tool that we drive (buildah, podman, uv, mmdebstrap) failed; `stderr` holds its own words."""

    def __init__(self, message: str, hint: str = "", *, stderr: str = "") -> None:
        super().__init__(message, hint)
        self.stderr = stderr
