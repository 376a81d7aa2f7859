"""Google's library, which is imported in the background, or cannot be."""

from __future__ import annotations

from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest

from ocicaliban.errors import OcicalibanError
from ocicaliban.system import threads
from ocicaliban.targets.vertex import library


def loading(monkeypatch: pytest.MonkeyPatch, result: object) -> None:
    """Have the import end with this result or exception."""
    done: Future[Any] = Future()
    if isinstance(result, BaseException):
        done.set_exception(result)
    else:
        done.set_result(result)
    monkeypatch.setattr(library, "_loading", None)
    monkeypatch.setattr(threads, "start", lambda work: done)


def test_the_library_is_had_once_it_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    loading(monkeypatch, made := SimpleNamespace())
    library.preload()
    monkeypatch.setattr(threads, "start", lambda work: pytest.fail("it is imported twice"))
    assert library.library() is made  # type: ignore[comparison-overlap]


@pytest.mark.parametrize(
    ("fault", "message", "hint"),
    [
        (
            ImportError("No module named 'google'"),
            "cannot be imported: No module named",
            "google-cloud-storage>=3' (300",
        ),
        (
            TypeError("Descriptors\nmore"),
            "cannot be imported: TypeError: Descriptors",
            "--upgrade 'google",
        ),
    ],
)
def test_a_library_that_cannot_be_imported_is_told(
    monkeypatch: pytest.MonkeyPatch, fault: Exception, message: str, hint: str
) -> None:
    loading(monkeypatch, fault)
    with pytest.raises(OcicalibanError) as caught:
        library.library()
    assert message in caught.value.message and hint in caught.value.hint
