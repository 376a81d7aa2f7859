"""Which base image is chosen for the Python that a project asks for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocicaliban.build.base.python_choice import WantedPython, choose, hint, misfit
from ocicaliban.build.base.python_table import load_table
from ocicaliban.dependencies.python_requirement import PythonRequirement
from ocicaliban.errors import UsageError
from ocicaliban.model.image import Base
from ocicaliban.recipes import catalog

TABLE = load_table(catalog.builtin_layers() / "base" / "pythons.toml")
IMAGES = "docker.io/library/"
DEFAULT = "python:3.12-slim-bookworm"


def base(name: str) -> Base:
    """A base by its short name: debian:SUITE is bootstrapped."""
    if name.startswith("debian:"):
        return Base(kind="bootstrap", reference=name)
    if name.startswith("localhost/"):
        return Base(kind="local", reference=name)
    return Base(kind="registry", reference=IMAGES + name if "/" not in name else name)


def wanted(*specifiers: str, pinned: bool = False) -> WantedPython:
    return WantedPython(
        requirements=tuple(
            PythonRequirement(place=f"file{number}: python", specifier=specifier, pinned=pinned)
            for number, specifier in enumerate(specifiers)
        )
    )


@pytest.mark.parametrize(
    ("declared", "specifier", "chosen"),
    [
        (DEFAULT, ">=3.9", DEFAULT),
        (DEFAULT, "==3.12.*", DEFAULT),
        (DEFAULT, ">=3.8,<3.11", "python:3.10-slim-bookworm"),
        (DEFAULT, "==3.10.*", "python:3.10-slim-bookworm"),
        (DEFAULT, "==3.11.4", "python:3.11.4-slim-bookworm"),
        (DEFAULT, "==3.11.3", "python:3.11.3-slim-bullseye"),
        (DEFAULT, "==3.9.6", "python:3.9.6-slim-buster"),
        (DEFAULT, "==3.6.*", "python:3.6-slim-bullseye"),
        (DEFAULT, "<3.12.4", "python:3.12.3-slim-bookworm"),
        (DEFAULT, ">=3.13", "python:3.15-slim-bookworm"),
        (DEFAULT, "==3.12.20", "python:3.12.20-slim-bookworm"),  # published after the table was written
        ("debian:bookworm", ">=3.9", "debian:bookworm"),
        ("debian:bookworm", ">=3.12", "debian:trixie"),
        ("debian:bookworm", ">=3.8,<3.11", "debian:bullseye"),
        ("debian:bookworm", ">=3.11.3", "debian:trixie"),
        ("debian:trixie", "<3.13", "debian:bookworm"),
        ("debian:sid", ">=3.9", "debian:sid"),  # its Python is unknown until it is made
    ],
)
def test_a_base_is_chosen_by_name(declared: str, specifier: str, chosen: str) -> None:
    choice = choose(base(declared), wanted(specifier), TABLE, given=False)
    assert choice.base == base(chosen)
    assert not choice.managed
    assert bool(choice.line) is (declared != chosen)


@pytest.mark.parametrize(
    ("declared", "specifier", "python", "managed"),
    [
        ("debian:bookworm", "==3.10.*", "", True),
        ("debian:bookworm", ">=3.11.3,<3.12", "", True),
        ("python:3.12", "==3.10.*", "", True),
        ("python:3.12.4-slim", "==3.12.5", "", True),
        ("python:3.12", "==3.12.5", "", False),  # its tag does not tell which 3.12 it has
        ("example.org/study:1", "==3.10.*", "", False),  # nothing is known of it
        ("example.org/study:1", "==3.10.*", "3.11.2", True),
        ("localhost/study:1", "==3.10.*", "3.10.2", False),
    ],
)
def test_an_image_of_the_user_is_kept(declared: str, specifier: str, python: str, managed: bool) -> None:
    choice = choose(base(declared), wanted(specifier), TABLE, given=True, python=python)
    assert (choice.base, choice.managed, choice.line) == (base(declared), managed, "")


def test_a_default_that_no_image_of_the_table_replaces_is_kept() -> None:
    assert choose(base(DEFAULT), wanted(">=3.12.20,<3.13"), TABLE, given=False).base == base(DEFAULT)
    assert choose(base(DEFAULT), wanted("==3.5.*"), TABLE, given=False).managed


def test_the_line_says_what_was_chosen_and_why() -> None:
    asked = WantedPython(
        requirements=(
            PythonRequirement(place="setup.py: python_requires", specifier=">=3.7"),
            PythonRequirement(place="pyproject.toml: requires-python", specifier=">=3.8,<3.11"),
        )
    )
    assert choose(base(DEFAULT), asked, TABLE, given=False).line == (
        "base: python:3.10-slim-bookworm, Python 3.10, because pyproject.toml: requires-python asks for Python "
        ">=3.8,<3.11, and python:3.12-slim-bookworm has 3.12"
    )
    assert choose(base("debian:bookworm"), asked, TABLE, given=False).line == (
        "base: debian:bullseye, Python 3.9.2, because pyproject.toml: requires-python asks for Python >=3.8,<3.11, "
        "and debian:bookworm has 3.11"
    )


def test_files_that_ask_for_the_same_are_named_together() -> None:
    asked = WantedPython(
        requirements=(
            PythonRequirement(place="uv.lock: requires-python", specifier=">=3.12"),
            PythonRequirement(place="pyproject.toml: requires-python", specifier=">=3.12"),
            PythonRequirement(place=".python-version", specifier="==3.13.*", pinned=True),
        )
    )
    assert choose(base("debian:bookworm"), asked, TABLE, given=False).line == (
        "base: debian:trixie, Python 3.13.5, because uv.lock: requires-python and pyproject.toml: requires-python ask "
        "for Python >=3.12, and .python-version asks for Python 3.13, and debian:bookworm has 3.11"
    )


def test_the_last_number_of_a_pin_does_not_count_on_a_suite_and_is_told() -> None:
    choice = choose(base("debian:bookworm"), wanted("==3.11.4", pinned=True), TABLE, given=False)
    assert choice.base == base("debian:bookworm")
    assert choice.line == "base: debian:bookworm, Python 3.11.2; file0: python asks for Python 3.11.4"
    assert choose(base("debian:trixie"), wanted("==3.11.4", pinned=True), TABLE, given=False).base == base(
        "debian:bookworm"
    )


@pytest.mark.parametrize(
    ("specifiers", "message"),
    [
        (("==3.11.*", ">=3.12"), "two files ask for different Pythons: file0: python asks for Python 3.11, and file1"),
        (("==3.11.4", ">=3.11.5"), "two files ask for different Pythons: file0"),
        ((">=3.9", "==2.7.*"), "file1: python asks for Python 2.7, and there is no such Python 3"),
        (("!=3.11.*", "!=3.12.*", ">=3.11,<3.13"), "no version of Python suits all files"),
        (("three",), "file0: python: 'three' does not name versions of Python"),
    ],
)
@pytest.mark.parametrize("declared", [DEFAULT, "debian:bookworm"])
def test_requirements_that_no_python_suits_are_told(declared: str, specifiers: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        choose(base(declared), wanted(*specifiers), TABLE, given=False)
    assert message in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    ("declared", "specifier", "lines"),
    [
        ("debian:bookworm", "==3.10.*", ('image = "python:3.10-slim-bookworm"',)),
        ("python:3.12", ">=3.8,<3.11", ('image = "python:3.10-slim-bookworm"', 'bootstrap = "debian:bullseye"')),
    ],
)
def test_an_error_names_the_lines_to_write(declared: str, specifier: str, lines: tuple[str, ...]) -> None:
    fault = misfit(base(declared), "3.12.1", wanted(specifier), TABLE)
    assert f"asks for Python {specifier.removeprefix('==').removesuffix('.*')}" in fault.message
    assert f"but the base image {declared} has 3.12.1" in fault.message
    assert all(line in fault.hint for line in lines)
    instead = ", in the place of bootstrap" if declared.startswith("debian:") else ""
    assert fault.hint.startswith(f"in ocicaliban.toml{instead}:\n[layers.base]\n{lines[0]}")
    assert hint(base(declared), wanted("==3.4.*"), TABLE)


VERSIONS = st.builds("3.{}.{}".format, st.integers(5, 17), st.integers(0, 25))
RANGES = st.one_of(
    st.builds("{}{}".format, st.sampled_from([">=", "<", "<=", ">", "!=", "=="]), VERSIONS),
    st.builds("=={}.*".format, st.builds("3.{}".format, st.integers(5, 17))),
)


@given(
    st.sampled_from([DEFAULT, "debian:bullseye", "debian:bookworm", "debian:trixie"]),
    st.lists(st.tuples(RANGES, st.booleans()), max_size=4),
)
def test_what_is_chosen_always_suits_all_requirements(declared: str, ranges: list[tuple[str, bool]]) -> None:
    asked = WantedPython(
        requirements=tuple(
            PythonRequirement(place=f"file{number}", specifier=specifier, pinned=pinned)
            for number, (specifier, pinned) in enumerate(ranges)
        )
    )
    try:
        choice = choose(base(declared), asked, TABLE, given=False)
    except UsageError:
        return
    if choice.managed:
        assert not asked.fits(choice.python)
    elif choice.python:
        assert choice.python == TABLE.python_of(choice.base)
        assert asked.fits(choice.python, any_micro=choice.base.kind == "bootstrap")
        assert choice.base == base(declared) or not asked.fits(TABLE.python_of(base(declared)))
    else:
        assert choice.base == base(declared)  # and it is checked once its Python is known
