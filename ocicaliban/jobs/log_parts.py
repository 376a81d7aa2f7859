"""The files of a job's log, and conmon's format.

conmon's lines (podman's log driver k8s-file, the format of CRI) are `TIME STREAM P|F BYTES`; after P, the next line
continues this one. They are in the file `raw`, and the plain text is in the log itself: so the format of a file is
always known, whatever the job printed, and wherever this process was killed.

conmon limits a log without stopping the job: when `raw` is full, it begins a new file in its place. The first of them
stays under a second name, `first`. So the beginning and the end of a log that reaches its limit are kept, also where
no process of ours lives. The limit is shared by the two.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

from attrs import define, field, frozen

from ocicaliban.system import files

LIMIT = 1 << 30
"""How large a log becomes, in bytes of conmon's format, unless a setting says something else."""

_SIGN = b"[ocicaliban: this log "
GAP = _SIGN + b"has reached its limit (log_size_max): what came here is left out]\n"
END = _SIGN + b"reached its limit (log_size_max): its middle is left out, and its end is above]\n"


def conmon_limit(limit: int) -> int:
    """Return the size at which conmon begins a new file, for a log of `limit` bytes; 0 is no limit."""
    return limit // 2 if limit else 1 << 62  # a user's own `log_size_max` for podman would count instead of none


def is_ours(line: str) -> bool:
    """Return whether we wrote a line of a log, and not the job."""
    return line.startswith(_SIGN.decode())


def below(text: bytes, line: bytes) -> bytes:
    """Return a line of ours as it is written below a text that may end without a newline."""
    return b"\n" + line if text and not text.endswith(b"\n") else line


@frozen(kw_only=True)
class Moved:
    """How far a conversion has come: `length` bytes of plain text have what is before `offset` of the file `part`."""

    part: str
    offset: int
    length: int


@define
class LogParts:
    """The files that a log may consist of."""

    log: Path = field(converter=Path)

    @property
    def raw(self) -> Path:
        """The file that conmon writes."""
        return Path(f"{self.log}.conmon")

    @property
    def first(self) -> Path:
        """The first file that conmon wrote."""
        return Path(f"{self.log}.first")

    @property
    def half(self) -> Path:
        """The plain text that is being written."""
        return Path(f"{self.log}.half")

    @property
    def record(self) -> Path:
        """How far the conversion of a large log has come."""
        return Path(f"{self.log}.moved")

    @property
    def is_cut(self) -> bool:
        """Whether the log has reached its limit."""
        first = files.identity(self.first)
        return first is not None and first != files.identity(self.raw)

    def prepare(self) -> None:
        """Make the files before conmon opens them, so that the first one keeps a name. Raises OSError."""
        with contextlib.suppress(FileExistsError):
            os.close(os.open(self.raw, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            with contextlib.suppress(OSError):  # a file system without links: the end alone is kept
                os.link(self.raw, self.first)

    def drop_empty(self) -> None:
        """Remove the files of a container that could not be started, and has written nothing."""
        with contextlib.suppress(OSError):
            if not self.raw.stat().st_size:
                self.first.unlink(missing_ok=True)
                self.raw.unlink()

    def moved(self) -> Moved | None:
        """Return how far the conversion has come, None where it is not under way."""
        from ocicaliban.formats.jsonc import parse_json  # few logs are that large

        try:
            part, offset, length = parse_json(self.record.read_bytes())
        except (OSError, ValueError, TypeError):
            return None
        if type(offset) is not int or type(length) is not int or min(offset, length) < 0:
            return None
        return Moved(part=str(part), offset=offset, length=length)

    def keep(self, moved: Moved) -> None:
        """Record how far the conversion has come. Raises OSError."""
        files.replace(self.record, json.dumps([moved.part, moved.offset, moved.length]), mode=0o600, lasting=True)


def decode(line: bytes) -> bytes:
    """Return what the job wrote, from one line of conmon's. A line of another form is returned as it is."""
    parts = line.split(b" ", 3)
    if len(parts) != 4 or parts[1] not in (b"stdout", b"stderr") or parts[2] not in (b"P", b"F"):
        return line
    text = parts[3]
    return text if parts[2] == b"F" else text.removesuffix(b"\n")


def split(data: bytes) -> list[bytes]:
    """Return the lines with their ends; splitlines would split at carriage returns too."""
    return [line + b"\n" for line in data.split(b"\n")[:-1]] + ([tail] if (tail := data.rsplit(b"\n", 1)[-1]) else [])
