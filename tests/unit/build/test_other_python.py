"""What a failure says of the Pythons that have a wheel, and the line to write."""

from __future__ import annotations

import pytest

from ocicaliban.build import other_python
from ocicaliban.dependencies import wheel_pythons
from ocicaliban.dependencies.indexes import Indexes
from ocicaliban.dependencies.python_requirement import PythonRequirement
from ocicaliban.errors import ToolError
from ocicaliban.model.image import Base

BOOTSTRAPPED = Base(kind="bootstrap", reference="debian:bookworm", python="3.11.2", platform="linux/amd64")
TAG = Base(kind="registry", reference="docker.io/library/python:3.12-slim-bookworm", python="3.12.1")
STDERR = "error: Failed to build `numpy==1.19.2`\n"


def told(
    monkeypatch: pytest.MonkeyPatch,
    base: Base,
    minors: tuple[int, ...],
    hint: str = "h",
    specifiers: tuple[str, ...] = (),
    others: dict[str, tuple[int, ...]] = {},  # noqa: B006 - not changed
) -> ToolError:
    monkeypatch.setattr(wheel_pythons, "pythons_of_all", lambda *_: others)
    monkeypatch.setattr(wheel_pythons, "ask_index", lambda *_: minors)
    asked = tuple(PythonRequirement(place="p", specifier=each) for each in specifiers)
    with pytest.raises(ToolError) as caught, other_python.telling(base, Indexes(), asked):
        raise ToolError(f"it failed\n{STDERR}", hint, stderr=STDERR)
    return caught.value


@pytest.mark.parametrize(
    ("base", "minors", "line"),
    [
        (BOOTSTRAPPED, (6, 7, 8), 'image = "python:3.8-slim-bookworm"'),
        (BOOTSTRAPPED, (8, 9, 10), 'python = "3.9"'),
        (BOOTSTRAPPED, (9, 12, 13), 'python = "3.13"'),
        (TAG, (6, 7, 8), 'image = "python:3.8-slim-bookworm"'),
    ],
)
def test_the_pythons_with_a_wheel_are_told(
    monkeypatch: pytest.MonkeyPatch, base: Base, minors: tuple[int, ...], line: str
) -> None:
    fault = told(monkeypatch, base, minors)
    own = base.python.rpartition(".")[0]
    listed = f"3.{minors[0]}, 3.{minors[1]} and 3.{minors[2]}"
    assert fault.message.startswith(f"numpy 1.19.2 has no wheel for Python {own}, but for {listed}\nit failed")
    instead = ", in the place of bootstrap" if base == BOOTSTRAPPED and line.startswith("image") else ""
    assert fault.hint.startswith(f"in ocicaliban.toml{instead}:\n[layers.base]\n{line}")
    assert fault.hint.endswith("or ask for another version of numpy")
    assert fault.stderr == STDERR


def test_only_pythons_that_the_project_allows_are_proposed(monkeypatch: pytest.MonkeyPatch) -> None:
    fault = told(monkeypatch, BOOTSTRAPPED, (9, 10, 12), specifiers=(">=3.10",))
    assert 'image = "python:3.12-slim-bookworm"' in fault.hint
    fault = told(monkeypatch, BOOTSTRAPPED, (8, 9), specifiers=(">=3.10",))
    assert fault.hint == "ask for another version of numpy"


@pytest.mark.parametrize(
    ("others", "told_hint", "told_message"),
    [
        ({"six": (6, 7, 8, 9, 10)}, 'python = "3.9"', "has no wheel"),
        ({"a": (8, 10), "b": (8,)}, "python:3.8-slim-bookworm", "has no wheel"),
        ({"a": (8,), "b": (10,)}, "ask for another version of numpy", "none of these has wheels of all the other"),
    ],
)
def test_a_python_must_have_wheels_of_all_packages(
    monkeypatch: pytest.MonkeyPatch, others: dict[str, tuple[int, ...]], told_hint: str, told_message: str
) -> None:
    fault = told(monkeypatch, BOOTSTRAPPED, (8, 9, 10), others=others)
    assert told_hint in fault.hint
    assert told_message in fault.message


def test_a_package_may_be_built_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    fault = told(monkeypatch, BOOTSTRAPPED, (9,), 'in ocicaliban.toml: [layers.apt] packages = ["gcc"]')
    assert fault.hint.endswith('or build it: in ocicaliban.toml: [layers.apt] packages = ["gcc"]')


@pytest.mark.parametrize("minors", [(), (9, 11)])
def test_another_cause_keeps_its_hint(monkeypatch: pytest.MonkeyPatch, minors: tuple[int, ...]) -> None:
    assert told(monkeypatch, BOOTSTRAPPED, minors).hint == "h"
