"""The emulator's jobs on disk, for the case that it is killed: the service that it stands for forgets no job."""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from google.cloud.aiplatform_v1.types import CustomJob
from google.protobuf.message import DecodeError

from ocicaliban.reporter import SILENT, Reporter


class JobJournal:
    """A file with a line for each change of a job, from `begin` to `close`, which removes it.

    So only an emulator that was killed leaves it. A disk that is full is told once; jobs go on without the journal.
    """

    def __init__(self, path: Path, reporter: Reporter = SILENT) -> None:
        self._path = path
        self._reporter = reporter
        self._file: BinaryIO | None = None

    def read(self) -> tuple[CustomJob, ...]:
        """Return the jobs that a killed emulator left, as they were, in the order of their creation."""
        jobs: dict[str, CustomJob] = {}
        try:
            lines = self._path.read_bytes().split(b"\n")
        except OSError:
            return ()
        for line in lines:
            try:
                job = CustomJob.deserialize(base64.b64decode(line, validate=True))
            except (binascii.Error, DecodeError):
                continue  # the emulator was killed while it wrote this one
            if job.name:
                jobs[job.name] = job
        return tuple(jobs.values())

    def begin(self, jobs: Iterable[CustomJob]) -> None:
        """Write these jobs into a new journal in place of an older one, and the changes to come after them."""
        new = self._path.with_name(f"{self._path.name}.new")
        try:
            self._file = open(  # noqa: SIM115  (it stays open until `close`)
                os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb", buffering=0
            )
            self._file.write(b"".join(map(_line, jobs)))
            new.replace(self._path)
        except OSError as exc:
            self._give_up(exc)

    def write(self, job: CustomJob) -> None:
        """Add a job as it is now."""
        if self._file is not None:
            try:
                self._file.write(_line(job))
            except OSError as exc:
                self._give_up(exc)

    def close(self) -> None:
        """Remove the journal, if it has begun: the emulator ends by itself, and its jobs with it."""
        if self._file is not None:
            self._file.close()
            self._file = None
            self._path.unlink(missing_ok=True)

    def _give_up(self, why: OSError) -> None:
        if self._file is not None:
            self._file.close()
        self._file = None
        self._reporter.warning(f"{self._path}: {why.strerror}; if the emulator is killed now, it forgets its jobs")


def _line(job: CustomJob) -> bytes:
    return base64.b64encode(CustomJob.serialize(job)) + b"\n"
