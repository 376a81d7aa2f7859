"""Upload an OCI layout to a registry with skopeo, and retry what may succeed later.

skopeo asks the registry for each blob by its digest before it sends it.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import tenacity

from ocicaliban.containers import skopeo
from ocicaliban.errors import OcicalibanError, ToolError
from ocicaliban.formats.text import printable
from ocicaliban.registry import auth, image_layout
from ocicaliban.registry.reference import Destination
from ocicaliban.reporter import Reporter

_ATTEMPTS = 8
_ATTEMPTS_IF_UNKNOWN = 3  # after a failure of unknown kind
_MAX_WAIT = 30.0  # seconds between two attempts

Failure = Literal["permanent", "temporary", "login", "unknown"]


class _RetryableTransfer(ToolError):
    """A failure that one of the next `attempts` may not meet."""

    def __init__(self, message: str, hint: str, *, stderr: str, attempts: int) -> None:
        super().__init__(message, hint, stderr=stderr)
        self.attempts = attempts


def upload(
    folder: Path, destination: Destination, *, verified: bool, check_login: Callable[[], object], reporter: Reporter
) -> None:
    """Upload the layout in `folder`/image until the registry has it all. Raises OcicalibanError if it refuses.

    `verified` says whether TLS is required. `check_login` is called when the login was refused: it raises if the
    refusal is final.
    """

    def tell(state: tenacity.RetryCallState) -> None:
        fault = state.outcome.exception() if state.outcome else None
        assert isinstance(fault, ToolError) and state.next_action
        reporter.say(f"{fault.message}; retrying in {state.next_action.sleep:.0f} s")

    def stop(state: tenacity.RetryCallState) -> bool:
        fault = state.outcome.exception() if state.outcome else None
        return not isinstance(fault, _RetryableTransfer) or state.attempt_number >= fault.attempts

    loop = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(_RetryableTransfer),
        stop=stop,
        wait=tenacity.wait_exponential_jitter(initial=1, max=_MAX_WAIT),
        before_sleep=tell,
        reraise=True,
    )
    loop(_upload_once, folder, destination, verified, check_login)


def _upload_once(folder: Path, destination: Destination, verified: bool, check_login: Callable[[], object]) -> None:
    # Look it up each time: one of Google's tokens is valid for an hour.
    login = auth.find_login(destination.repository, key_file=destination.key_file)
    try:
        with contextlib.ExitStack() as stack:
            file = ""
            if login and login.unknown_to_tools:
                file = stack.enter_context(auth.auth_file(login, destination.repository))
            skopeo.copy_layout(folder, image_layout.FOLDER, destination.reference, tls_verify=verified, auth_file=file)
    except ToolError as exc:
        message = f"{destination.repository}: {skopeo_message(exc.stderr, login.secret if login else '')}"
        kind = classify(exc.stderr, destination)
        if kind == "login":
            check_login()
        if kind != "permanent":
            raise _RetryableTransfer(
                message,
                "push again: what the registry has is not sent again",
                stderr=exc.stderr,
                attempts=_ATTEMPTS_IF_UNKNOWN if kind == "unknown" else _ATTEMPTS,
            ) from exc
        raise OcicalibanError(
            f"the push failed: {message}", "check that the registry has space left, and that you may write to it"
        ) from exc


def skopeo_message(stderr: str, secret: str) -> str:
    """Return the message of skopeo's failure from its log, without secrets (pure)."""
    lines = [line for line in stderr.splitlines() if line.strip()]
    last = lines[-1] if lines else "skopeo failed"
    quoted = re.search(r'msg="((?:[^"\\]|\\.)*)"', last)
    words = quoted[1].replace('\\"', '"') if quoted else last
    # The query of a URL holds the state of an upload, or a signature.
    words = re.sub(r"(https?://[^\s?\"]+)\?[^\s\"]*[^\s\":,]", r"\1", words)
    return printable(words.replace(secret, "****") if secret else words)


_TEMPORARY = re.compile(
    r"\b(?:EOF|broken pipe|connection reset|connection refused|connection timed out|i/o timeout|handshake timeout"
    r"|use of closed network connection|server closed idle|deadline exceeded|client connection lost|GOAWAY"
    r"|stream error|Client\.Timeout|no such host|server misbehaving|temporary failure in name resolution"
    r"|network is unreachable|no route to host"
    r"|toomanyrequests|too many requests|quota exceeded|unavailable|blob upload (?:invalid|unknown)"
    r"|(?:status ?(?:code)?:?|HTTP status:?|code) \"?(?:429|5\d\d))\b",
    re.I,
)
_LOGIN = re.compile(
    r"\b(?:unauthorized|(?<!proxy )authentication required|401|invalid token|token (?:has )?expired)\b", re.I
)
_PERMANENT = re.compile(
    r"\b(?:denied|forbidden|proxy authentication required|name unknown|not known to registry|manifest invalid"
    r"|digest did not match|too large|no space left on device|unsupported|not allowed|certificate|not found"
    r"|(?:status ?(?:code)?:?|HTTP status:?|code) \"?(?:40[0345]|41[0-9]))\b",
    re.I,
)


def classify(stderr: str, destination: Destination) -> Failure:
    """Return what kind of failure skopeo reports: whether a retry, or a new login, may succeed (pure).

    Ignore the names of `destination` in it, even if they look like a failure.
    """
    repository = destination.repository
    for name in (destination.reference, str(repository), repository.path):
        stderr = stderr.replace(name, "")
    if _LOGIN.search(stderr):
        return "login"
    if _TEMPORARY.search(stderr):
        return "temporary"
    return "permanent" if _PERMANENT.search(stderr) else "unknown"
