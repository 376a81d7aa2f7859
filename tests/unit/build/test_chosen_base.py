"""Which base image a project gets, from its configuration, its files and its lock; no tool is asked."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve

from ocicaliban.build import planner
from ocicaliban.build.base.stored import platform
from ocicaliban.build.inputs import folders
from ocicaliban.build.request import PlanRequest
from ocicaliban.errors import UsageError
from ocicaliban.model.image import Base
from ocicaliban.model.project import Project
from ocicaliban.project import config, lockfile
from ocicaliban.project.lockfile import Lock
from ocicaliban.reporter import SILENT, Reporter
from tests.folders import write

BOOKWORM = Base(
    kind="bootstrap", reference="debian:bookworm", digest=f"sha256:{'a' * 64}", python="3.11.2", platform=platform(),
    libc="2.36",
)  # fmt: skip
BULLSEYE = evolve(BOOKWORM, reference="debian:bullseye", digest=f"sha256:{'b' * 64}", python="3.9.2")
PYTHON_310 = evolve(
    BOOKWORM, kind="registry", reference="docker.io/library/python:3.10-slim-bookworm", python="3.10.14"
)
BOOTSTRAPPED = '[layers.base]\nbootstrap = "debian:bookworm"\n'
OLD = '[project]\nname = "a"\nversion = "1"\nrequires-python = ">=3.8,<3.11"\n'


@pytest.fixture(autouse=True)
def private_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("XDG_CACHE_HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))


def base_of(root: Path, files: dict[str, str], locked: tuple[Base, ...] = ()) -> tuple[Base, list[str]]:
    """The base of a project that was planned without resolving anything, and what planning said of it."""
    write(root, files)
    if locked:
        lock = Lock()
        for variant, base in zip(("cpu", "gpu"), locked, strict=False):
            lock = evolve(lock, base={**lock.base, variant: base})
        lockfile.write_lock(root, lock)
    said: list[str] = []
    planned = planner.plan_project(PlanRequest(root=root, mode="run", resolve=False), Reporter(said.append))
    return planned.plan.base, [line for line in said if line.startswith("base: ")]


def test_another_suite_is_told_before_anything_is_made(tmp_path: Path) -> None:
    base, said = base_of(tmp_path, {"ocicaliban.toml": BOOTSTRAPPED, "pyproject.toml": OLD})
    assert (base.kind, base.reference, base.digest) == ("bootstrap", "debian:bullseye", "")
    assert len(said) == 1 and said[0].startswith("base: debian:bullseye, Python 3.9.2, because pyproject.toml: ")


@pytest.mark.parametrize(
    ("config", "locked", "expected"),
    [
        (BOOTSTRAPPED, BULLSEYE, BULLSEYE),
        ("", PYTHON_310, PYTHON_310),
    ],
)
def test_the_chosen_base_is_taken_from_the_lock(tmp_path: Path, config: str, locked: Base, expected: Base) -> None:
    assert base_of(tmp_path, {"ocicaliban.toml": config, "pyproject.toml": OLD}, (locked,))[0] == expected


def test_the_lock_of_a_base_that_does_not_fit_does_not_hold(tmp_path: Path) -> None:
    base, _ = base_of(tmp_path, {"ocicaliban.toml": BOOTSTRAPPED, "pyproject.toml": OLD}, (BOOKWORM,))
    assert base == Base(kind="bootstrap", reference="debian:bullseye")
    tag = evolve(PYTHON_310, reference="docker.io/library/python:3.12-slim-bookworm", python="3.12.1")
    base, _ = base_of(tmp_path, {"ocicaliban.toml": "", "pyproject.toml": "", ".python-version": "3.12.4"}, (tag,))
    assert base.reference == "docker.io/library/python:3.12.4-slim-bookworm"


def test_a_base_that_fits_is_not_told(tmp_path: Path) -> None:
    base, said = base_of(tmp_path, {"ocicaliban.toml": BOOTSTRAPPED, ".python-version": "3.11"}, (BOOKWORM,))
    assert (base, said) == (BOOKWORM, [])


def test_the_key_goes_before_all_files(tmp_path: Path) -> None:
    files = {"pyproject.toml": OLD, ".python-version": "3.12"}
    with pytest.raises(UsageError, match="two files ask for different Pythons: pyproject") as no:
        base_of(tmp_path / "a", {"ocicaliban.toml": BOOTSTRAPPED, **files})
    assert '[layers.base]\npython = "3.11"' in no.value.hint
    base, said = base_of(tmp_path / "b", {"ocicaliban.toml": f'{BOOTSTRAPPED}python = "3.13"\n', **files})
    assert base.reference == "debian:trixie"
    assert "because layers.base.python in ocicaliban.toml asks for Python 3.13, and" in said[0]


@pytest.mark.parametrize("image", ['"python:3.12"', '{ cpu = "python:3.12" }', '"python:3.12-slim-bookworm"'])
def test_an_image_that_the_user_names_is_not_replaced(tmp_path: Path, image: str) -> None:
    files = {"ocicaliban.toml": f"[layers.base]\nimage = {image}\n", "pyproject.toml": OLD}
    base, said = base_of(tmp_path, files)
    assert base.reference.startswith("docker.io/library/python:3.12")
    assert said == [
        f"base: {base.reference.removeprefix('docker.io/library/')} with Python >=3.8,<3.11 from uv, because "
        "pyproject.toml: requires-python asks for Python >=3.8,<3.11, and it has 3.12"
    ]
    other = '[layers.base]\nimage = { gpu = "python:3.12" }\n'
    base, _ = base_of(tmp_path / "other", {"ocicaliban.toml": other, "pyproject.toml": OLD})
    assert base.reference == PYTHON_310.reference


MANAGED = evolve(
    BOOKWORM, python="3.10.22", archive="1/cpython-3.10.22+1-x86_64-install_only.tar.gz", archive_sha256="c" * 64
)


def test_a_python_of_uv_is_taken_from_the_lock_and_has_a_layer(tmp_path: Path) -> None:
    files = {"ocicaliban.toml": BOOTSTRAPPED, ".python-version": "3.10"}
    base, said = base_of(tmp_path / "a", files, (MANAGED,))
    assert base == MANAGED
    assert said == [
        "base: debian:bookworm with Python 3.10.22 from uv, because .python-version asks for Python 3.10, "
        "and it has 3.11"
    ]
    planned = planner.plan_project(PlanRequest(root=tmp_path / "a", mode="run", resolve=False))
    assert [layer.name for layer in planned.plan.layers][:1] == ["base python"]
    files[".python-version"] = "3.10.4"  # not the locked one, and uv may have it
    assert base_of(tmp_path / "c", files, (MANAGED,))[0] == Base(kind="bootstrap", reference="debian:bookworm")
    files[".python-version"] = "3.9"
    assert base_of(tmp_path / "b", files, (MANAGED,))[0] == Base(kind="bootstrap", reference="debian:bullseye")


def test_a_command_that_the_base_lacks_has_a_layer(tmp_path: Path) -> None:
    files = {"ocicaliban.toml": BOOTSTRAPPED}
    base_of(tmp_path, files, (evolve(BOOKWORM, missing="python"),))
    planned = planner.plan_project(PlanRequest(root=tmp_path, mode="run", resolve=False))
    assert [layer.name for layer in planned.plan.layers] == ["base python", "source-copy"]


def test_a_pin_of_another_last_number_does_not_make_the_lock_of_a_suite_invalid(tmp_path: Path) -> None:
    base, said = base_of(tmp_path, {"ocicaliban.toml": BOOTSTRAPPED, ".python-version": "3.11.9"}, (BOOKWORM,))
    assert base == BOOKWORM
    assert said == ["base: debian:bookworm, Python 3.11.2; .python-version asks for Python 3.11.9"]


@pytest.mark.parametrize("text", ["pypy3.10", "3.13t"])
def test_a_python_that_no_image_has_is_refused_unless_a_key_decides(tmp_path: Path, text: str) -> None:
    files = {"ocicaliban.toml": BOOTSTRAPPED, ".python-version": text}
    with pytest.raises(UsageError, match=f".python-version asks for {text}, and images have CPython") as fault:
        base_of(tmp_path, files, (BOOKWORM,))
    assert 'python = "3.11"' in fault.value.hint
    files["ocicaliban.toml"] += 'python = "3.11"\n'
    assert base_of(tmp_path, files, (BOOKWORM,))[0] == BOOKWORM


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({".python-version": "3.11"}, ".python-version asks for Python 3.11"),
        ({}, "no file asks for a Python; the base image has it"),
        ({"ocicaliban.toml": BOOTSTRAPPED + 'python = "3.11"\n'}, "layers.base.python in ocicaliban.toml asks for"),
    ],
)
def test_the_reason_for_the_python_is_told(tmp_path: Path, files: dict[str, str], words: str) -> None:
    base_of(tmp_path, {"ocicaliban.toml": BOOTSTRAPPED, **files}, (BOOKWORM,))
    planned = planner.plan_project(PlanRequest(root=tmp_path, mode="run", resolve=False), SILENT)
    assert planned.python_reason.startswith(words)


@pytest.mark.parametrize(
    ("lines", "line", "told"),
    [
        ('image = "python:3.12"\nbootstrap = "debian:bookworm"', 3, "layers.base has both an image and a bootstrap"),
        ('\nimage = "A B"', 3, "layers.base.image: 'A B' does not name an image"),
        ('bootstrap = "debian"', 2, "layers.base.bootstrap: 'debian' is not debian:SUITE"),
        ('image = "oci:none"', 2, "layers.base.image: there is no"),
        ("image = { cpu = 'oci:none' }", 2, "layers.base.image: there is no"),
    ],
)
def test_a_wrong_base_is_told_with_its_line(tmp_path: Path, lines: str, line: int, told: str) -> None:
    with pytest.raises(UsageError) as caught:
        base_of(tmp_path, {"ocicaliban.toml": f"[layers.base]\n{lines}\n"})
    assert caught.value.message.startswith(f"{tmp_path}/ocicaliban.toml:{line}: {told}")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("none", "there is no folder 'none' in the project"),
        ("../..", "the folder '../..' is outside the project"),
        (".", "the folder of data '.' is the project itself"),
        ("x" * 300, f"there is no folder '{'x' * 300}' in the project"),
    ],
)
def test_a_wrong_folder_of_data_is_told_with_its_place(tmp_path: Path, name: str, told: str) -> None:
    write(tmp_path, {"ocicaliban.toml": f'extras = []\ndirs = ["data", "{name}"]\n', "data/a": ""})
    with pytest.raises(UsageError) as caught:
        folders.data_folders(config.load_project(tmp_path), ())
    assert caught.value.message == f"{tmp_path}/ocicaliban.toml:2: dirs: {told}"
    assert "-d" not in caught.value.hint.split()
    with pytest.raises(UsageError) as caught:
        folders.data_folders(Project(root=tmp_path), ("data", name))
    assert caught.value.message == f"-d: {told}"


@pytest.mark.parametrize(
    ("listed", "told"),
    [
        ('"base", "apt", "apt"', "the mode lists the recipe 'apt' twice"),
        ('"base", "source-copy", "source-mount"', "'source-copy' and 'source-mount' both provide the source"),
        ('"apt"', "the mode lists no recipe that provides the base image"),
    ],
)
def test_a_wrong_list_of_recipes_is_told_with_its_line(tmp_path: Path, listed: str, told: str) -> None:
    with pytest.raises(UsageError) as caught:
        base_of(tmp_path, {"ocicaliban.toml": f"[modes]\nrun = [{listed}]\n{BOOTSTRAPPED}"}, (BOOKWORM,))
    assert caught.value.message == f"{tmp_path}/ocicaliban.toml:2: {told}"
