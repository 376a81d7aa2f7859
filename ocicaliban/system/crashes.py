"""What a tool writes when it crashes: a few words for the message, all of it for a file."""

from __future__ import annotations

import os
import re

from ocicaliban.system import files

_BEGIN = re.compile(r"^(?:panic: |fatal error: |runtime: |SIG[A-Z]+: |unexpected fault address |goroutine \d+ )", re.M)
_GOROUTINE = re.compile(r"^goroutine \d+ (?:[^\n\[]{0,200})\[", re.M)
_BEFORE = 10  # lines
_WORDS = 300  # characters of the first line of a crash


def shortened(stderr: str, tool: str) -> str:
    """Return what a tool wrote; where a program in Go crashed, its first words and the file that has the rest.

    `tool` names the file, which the next crash replaces. Such a program (podman, buildah, skopeo)
    prints the stack of each of its threads: hundreds of lines that tell its users nothing.
    """
    began = _BEGIN.search(stderr)
    if began is None or not _GOROUTINE.search(stderr, began.start()):
        return stderr
    before = stderr[: began.start()].rstrip().splitlines()[-_BEFORE:]
    words = stderr[began.start() :].split("\n", 1)[0][:_WORDS]
    return "\n".join([*before, f"{tool} has crashed: {words}", *_kept(stderr, tool)])


def _kept(text: str, tool: str) -> list[str]:
    """Write a text to a file of the state folder; return the line that names it, none if that fails."""
    path = files.state() / "crashes" / f"{os.path.basename(tool)}.log"
    try:
        files.keep(path, text.encode("utf-8", "replace"))
    except OSError:
        return []
    return [f"its whole output: {path}"]
