"""What is taken out of a lock, and in what two locks differ."""

from __future__ import annotations

import pytest

from ocicaliban.build import lock_changes
from ocicaliban.errors import UsageError
from ocicaliban.model.image import Base
from ocicaliban.project.lockfile import Lock, Resolution

PYTHON = "numpy==1.26.4 \\\n    --hash=sha256:aa\nsix==1.16.0 ; python_version < '4' \\\n    --hash=sha256:bb\nlib @ https://x/lib.whl\n"
CONDA = "https://c/linux-64/zlib-1.3-h1_0.conda\n    sha256:" + "a" * 64 + " 5\n"
BASE = Base(kind="bootstrap", reference="debian:bookworm", digest=f"sha256:{'a' * 64}")


def resolution(text: str, *checkouts: str) -> Resolution:
    return Resolution(inputs="sha256:1", requirements=text, checkouts=checkouts)


LOCK = Lock(
    base={"cpu": BASE},
    sections={
        "apt": {"cpu": resolution("# http://m\nzip=3.0-13 amd64 1 sha256:cc pool/zip.deb\n")},
        "conda": {"cpu": resolution(CONDA)},
        "python": {"cpu": resolution(PYTHON, "tool @ git+https://g/tool@c0ffee")},
        "project": {"cpu": resolution("setuptools==70.1\n")},
        "jupyter": {"lab-cpu": resolution("jupyterlab==4.4\n")},
    },
)


@pytest.mark.parametrize(
    ("names", "removed"),
    [
        (("base",), ["removed debian:bookworm sha256:aaaaaaaaaaaa (base, cpu)"]),
        (("apt",), ["removed zip 3.0-13 (apt, cpu)"]),
        (("conda",), ["removed zlib 1.3 (conda, cpu)"]),
        (("zlib",), ["removed zlib 1.3 (conda, cpu)"]),
        (("notebook",), ["removed jupyterlab 4.4 (jupyter, lab-cpu)"]),
        (("NumPy",), ["removed numpy 1.26.4 (python, cpu)"]),
        (("git",), ["removed tool git+https://g/tool@c0ffee (python, cpu)"]),
        (("numpy", "jupyterlab"), ["removed jupyterlab 4.4 (jupyter, lab-cpu)", "removed numpy 1.26.4 (python, cpu)"]),
    ],
)  # fmt: skip
def test_what_a_name_stands_for_is_taken_out(names: tuple[str, ...], removed: list[str]) -> None:
    left = lock_changes.without(LOCK, names)
    assert [change.line for change in lock_changes.changes(LOCK, left)] == removed
    inputs = {each.inputs for held in left.sections.values() for each in held.values()}
    assert ("" in inputs) == (not {*names} <= {"base", "apt", "conda", "notebook"})  # those are resolved again


def test_all_is_taken_out_without_a_name() -> None:
    assert lock_changes.without(LOCK, ()) == Lock()


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("nmpy", "--upgrade nmpy: the lock has neither a package nor a part of this name", "did you mean 'numpy'?"),
        ("zip", "--upgrade zip: the section 'apt' is resolved as a whole", "ocicaliban lock --upgrade apt"),
    ],
)
def test_a_name_that_stands_for_nothing_is_refused(name: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        lock_changes.without(LOCK, (name,))
    assert (caught.value.message, caught.value.hint) == (message, hint)


@pytest.mark.parametrize(
    ("base", "text", "lines"),
    [
        (BASE, "six==1.16.0\n", []),
        (BASE, "six==1.17.0\n", ["updated six 1.16.0 -> 1.17.0 (python, cpu)"]),
        (BASE, "numpy==2\n", ["added numpy 2 (python, cpu)", "removed six 1.16.0 (python, cpu)"]),
        (BASE, "six==1.16.0 --hash=x\n", ["resolved from other inputs (python, cpu)"]),
        (
            Base(kind="registry", reference="python:3.12", digest=f"sha256:{'b' * 64}"),
            "six==1.16.0\n",
            ["updated python:3.12 debian:bookworm@sha256:aaaaaaaaaaaa -> sha256:bbbbbbbbbbbb (base, cpu)"],
        ),
        (
            Base(kind="bootstrap", reference="debian:bookworm", digest=BASE.digest, python="3.11"),
            "six==1.16.0\n",
            ["resolved from other inputs (base, cpu)"],
        ),
    ],
)
def test_each_difference_is_told(base: Base, text: str, lines: list[str]) -> None:
    before = Lock(base={"cpu": BASE}, sections={"python": {"cpu": resolution("six==1.16.0\n")}})
    after = Lock(base={"cpu": base}, sections={"python": {"cpu": resolution(text)}})
    assert [change.line for change in lock_changes.changes(before, after)] == lines


def test_a_resolution_without_packages_comes_and_goes() -> None:
    none, empty = Lock(), Lock(sections={"project": {"cpu": resolution("")}})
    assert [each.line for each in lock_changes.changes(none, empty)] == ["resolved: nothing to install (project, cpu)"]
    assert [each.line for each in lock_changes.changes(empty, none)] == ["removed: nothing to install (project, cpu)"]
