"""Read the event files that TensorBoard's writers leave in a results folder, by TensorBoard's own reader."""

from __future__ import annotations

import contextlib
import os
import stat
import struct
from collections.abc import Iterator
from typing import Any

from attrs import evolve

from ocicaliban.model.job import Scalar
from ocicaliban.reports.metrics import Metrics, Thinning, read_folder

_MARK = "tfevents"
_DEPTH = 4
_MOST_FILES = 100
_MOST_BYTES = 500_000_000
_MOST_NAMES = 500
MISSING = "it has event files of TensorBoard; install ocicaliban with the extra `tensorboard` to see their curves"


def read(folder: str, points: int = 0, wanted: str = "") -> Metrics:
    """Return what a job has reported in its results folder: in metrics.json and metrics.jsonl, and in event files.

    Event files take longer. With the name of a metric that is `wanted`, they are left alone if the others have it, with
    its curve.
    """
    found = read_folder(folder, points)
    if wanted in found.results and wanted in found.curves:
        return found
    return add(found, folder, points)


def add(metrics: Metrics, folder: str, points: int = 0) -> Metrics:
    """Return metrics with the scalars of the event files in a results folder; what is there already has priority.

    A curve has about `points` points; with 0 there are no curves. What cannot be read is told in a note.
    """
    files = list(_files(folder)) if folder else []
    if not files:
        return metrics
    try:
        from google.protobuf.message import DecodeError
        from tensorboard.backend.event_processing import event_file_loader
        from tensorboard.compat.tensorflow_stub.errors import OpError
        from tensorboard.util import tensor_util
    except ImportError:
        return evolve(metrics, notes=(*metrics.notes, MISSING))
    notes: list[str] = []
    results: dict[str, Scalar] = {}
    curves: dict[str, Thinning] = {}
    left = _MOST_BYTES
    for path in files[:_MOST_FILES]:
        left -= os.path.getsize(path)
        if left < 0:
            notes.append(f"its event files have more than {_MOST_BYTES // 1_000_000} MB: some were not read")
            break
        try:
            for event in event_file_loader.EventFileLoader(path).Load():
                for tag, value in _scalars(event, tensor_util):
                    if tag not in results and len(results) >= _MOST_NAMES:
                        continue
                    results[tag] = value
                    if points:
                        curves.setdefault(tag, Thinning(points=points)).add(float(event.step), value)
        except (OSError, ValueError, TypeError, struct.error, DecodeError, OpError) as fault:
            notes.append(f"cannot read {os.path.basename(path)}: {type(fault).__name__}")
    return evolve(
        metrics,
        results={**results, **metrics.results},
        curves={**{name: curve.curve() for name, curve in curves.items()}, **metrics.curves},
        notes=(*metrics.notes, *notes),
    )


def _files(folder: str, depth: int = 1) -> Iterator[str]:
    """Yield the event files in a folder and the folders in it, in the order of their names; links are not followed."""
    with contextlib.suppress(OSError):
        for entry in sorted(os.scandir(folder), key=lambda each: each.name):
            if entry.is_dir(follow_symlinks=False) and depth < _DEPTH:
                yield from _files(entry.path, depth + 1)
            elif _MARK in entry.name and stat.S_ISREG(entry.stat(follow_symlinks=False).st_mode):
                yield entry.path


def _scalars(event: Any, tensor_util: Any) -> Iterator[tuple[str, float]]:
    """Yield the numbers in an event, by their tags: those of TensorFlow 2 and PyTorch are tensors with one element."""
    for value in event.summary.value:
        if value.tag.startswith("_"):  # of plugins
            continue
        if value.HasField("simple_value"):
            yield value.tag, float(value.simple_value)
        elif value.HasField("tensor"):
            found = tensor_util.make_ndarray(value.tensor)
            if found.size == 1 and found.dtype.kind in "fiu":
                yield value.tag, float(found.reshape(-1)[0])
