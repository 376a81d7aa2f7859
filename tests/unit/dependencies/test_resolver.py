"""The project's declared dependencies, and when a resolution still holds."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve

from ocicaliban.dependencies import resolver
from ocicaliban.errors import UsageError
from ocicaliban.model.image import Base
from ocicaliban.model.project import Project
from ocicaliban.project.lockfile import Lock, Resolution

BASE = Base(kind="registry", reference="r", digest="sha256:aa", python="3.11.2", platform="linux/amd64")


def project(root: Path) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / "more").mkdir()
    (root / "requirements.txt").write_text("-r more/a.txt\n--constraint=c.txt\nsix\n")
    (root / "more" / "a.txt").write_text("-r b.txt\n-r ../requirements.txt\n")
    (root / "more" / "b.txt").write_text("rich\n")
    (root / "c.txt").write_text("six<2\n")
    return root / "requirements.txt"


def digest(path: Path, base: Base = BASE, extras: tuple[str, ...] = ()) -> str:
    return resolver.inputs_digest(Project(root=path.parent), path, base, extras)


def test_the_inputs_digest_is_independent_of_the_folder_and_of_sources(tmp_path: Path) -> None:
    one, two = project(tmp_path / "one"), project(tmp_path / "deep" / "two")
    (two.parent / "train.py").write_text("pass\n")
    assert digest(one) == digest(two)


@pytest.mark.parametrize("name", ["requirements.txt", "more/a.txt", "more/b.txt", "c.txt"])
def test_the_inputs_digest_follows_included_files(tmp_path: Path, name: str) -> None:
    path = project(tmp_path)
    before = digest(path)
    with (tmp_path / name).open("a") as file:
        file.write("attrs\n")
    assert digest(path) != before


DYNAMIC = '[project]\nname = "a"\ndynamic = ["dependencies"]\n'


@pytest.mark.parametrize(
    ("declared", "changed"),
    [
        ({"requirements.in": "-r base.in\n", "base.in": "-c deep.in"}, "base.in"),
        ({"requirements.in": "-r base.in\n", "base.in": "-c deep.in"}, "deep.in"),
        ({"requirements.txt": "six\n"}, "uv.toml"),
        ({"requirements.txt": "six\n"}, "pyproject.toml"),
        ({"pyproject.toml": DYNAMIC + '[tool.setuptools.dynamic]\ndependencies = {file = ["req/a.txt"]}'}, "req/a.txt"),
        ({"pyproject.toml": DYNAMIC}, "setup.cfg"),
        ({"pyproject.toml": DYNAMIC, "setup.cfg": "install_requires = file: some.in"}, "some.in"),
        ({"setup.py": "open('needs.txt')"}, "needs.txt"),
        ({"setup.py": "setup()"}, "setup.cfg"),
        ({"uv.lock": ""}, "pyproject.toml"),
    ],
)
def test_the_inputs_digest_follows_all_that_says_what_is_needed(
    tmp_path: Path, declared: dict[str, str], changed: str
) -> None:
    for name, text in declared.items():
        (tmp_path / name).write_text(text)
    path = tmp_path / next(iter(declared))
    before = digest(path)
    (tmp_path / changed).parent.mkdir(exist_ok=True)
    with (tmp_path / changed).open("a") as file:
        file.write('\n[tool.uv]\nconstraint-dependencies = ["six<2"]\n')
    assert digest(path) != before


def test_what_a_pyproject_says_to_others_is_nothing_to_a_list(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("six\n")
    (tmp_path / "pyproject.toml").write_text("[tool.ruff]\n")
    before = digest(tmp_path / "requirements.txt")
    (tmp_path / "pyproject.toml").write_text("[tool.ruff]\nline-length = 9\n")
    assert digest(tmp_path / "requirements.txt") == before


def test_the_inputs_digest_follows_extras_and_the_base(tmp_path: Path) -> None:
    path = project(tmp_path)
    others = [
        digest(path, extras=("a",)),
        digest(path, evolve(BASE, python="3.12.1")),
        digest(path, evolve(BASE, platform="linux/arm64")),
    ]
    assert len({digest(path), *others}) == 4
    assert digest(path, evolve(BASE, digest="sha256:cc", reference="x")) == digest(path)


@pytest.mark.parametrize("name", ["pyproject.toml", "uv.lock"])
def test_the_variants_extra_is_added_when_declared(tmp_path: Path, name: str) -> None:
    (tmp_path / "uv.lock").write_text("")
    (tmp_path / "pyproject.toml").write_text('[project.optional-dependencies]\ngpu = ["six"]\na = []\n')
    path = tmp_path / name
    assert resolver._extras(path, ("a",), "gpu") == ("a", "gpu")
    assert resolver._extras(path, ("a",), "cpu") == ("a",)
    assert resolver._extras(tmp_path / "requirements.txt", (), "gpu") == ()


def test_an_extra_that_is_not_declared_is_refused_with_those_that_are(tmp_path: Path) -> None:
    path = tmp_path / "pyproject.toml"
    path.write_text("[project.optional-dependencies]\nMy_Plots = []\n")
    assert resolver._extras(path, ("my-plots",), "cpu") == ("my-plots",)
    with pytest.raises(UsageError, match="declares no extra 'dev'") as caught:
        resolver._extras(path, ("dev",), "cpu")
    assert caught.value.hint == "there are: My_Plots"
    path.write_text(DYNAMIC)
    assert resolver._extras(path, ("dev",), "cpu") == ("dev",)


@pytest.mark.parametrize(
    ("files", "unread"),
    [
        ({}, ""),
        ({"pyproject.toml": "[tool.ruff]\n"}, ""),
        ({"environment.yml": ""}, "environment.yml"),
        ({"setup.cfg": "[flake8]\n"}, ""),
        ({"setup.cfg": "[options]\ninstall_requires = six\n"}, "setup.cfg"),
        ({"pyproject.toml": '[tool.poetry]\nname = "a"\n'}, "the [tool.poetry] of pyproject.toml"),
    ],
)
def test_a_declaration_that_is_not_read_is_named(tmp_path: Path, files: dict[str, str], unread: str) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert resolver.unread(Project(root=tmp_path)) == unread


def test_what_is_locked_is_taken_without_uv(tmp_path: Path) -> None:
    path = project(tmp_path)
    known = Resolution(inputs=digest(path), requirements="six==1\n")
    given = Lock().with_resolution("python", "cpu", known)
    assert resolver.resolution(Project(root=tmp_path), given, BASE, "cpu", "", ()) == known


def test_the_declaration(tmp_path: Path) -> None:
    here = Project(root=tmp_path)
    assert resolver.declaration(here, "") is None
    (tmp_path / "pyproject.toml").write_text("[tool.ruff]\n")
    assert resolver.declaration(here, "") is None
    (tmp_path / "pyproject.toml").write_text("[project\n")
    with pytest.raises(UsageError, match=r"pyproject\.toml:1: not valid TOML"):
        resolver.declaration(here, "")
    with pytest.raises(UsageError, match=r"there is no file 'no\.txt'"):
        resolver.declaration(here, "no.txt")
    (tmp_path / "requirements.txt").write_text("")
    assert resolver.declaration(here, "") == tmp_path / "requirements.txt"


@pytest.mark.parametrize(
    ("libc", "platform"),
    [
        ("2.36", "x86_64-manylinux_2_36"),
        ("2.30", "x86_64-manylinux_2_28"),
        ("2.99", "x86_64-manylinux_2_40"),
        ("2.5", "x86_64-unknown-linux-gnu"),
        ("", "x86_64-unknown-linux-gnu"),
    ],
)
def test_wheels_are_chosen_for_the_c_library_of_the_base(libc: str, platform: str) -> None:
    assert platform in resolver._for_base(evolve(BASE, libc=libc))
