"""The project's declared dependencies, and when a resolution still holds."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve

from ocicaliban.dependencies import resolver, uv
from ocicaliban.dependencies.declaration import ResolutionTarget
from ocicaliban.dependencies.indexes import Indexes
from ocicaliban.dependencies.registry import declaration_in
from ocicaliban.errors import UsageError
from ocicaliban.model.image import Base
from ocicaliban.project.lockfile import Resolution

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
    return resolver.inputs_digest(declaration_in(path.parent, path), base, extras)


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


def test_what_is_locked_is_taken_without_uv(tmp_path: Path) -> None:
    path = project(tmp_path)
    known = Resolution(inputs=digest(path), requirements="six==1\n")
    target = ResolutionTarget(base=BASE, variant="cpu")
    assert resolver.resolve(declaration_in(tmp_path, path), target, known, Indexes()) == known


def test_an_extra_that_no_file_declares_is_refused() -> None:
    target = ResolutionTarget(base=BASE, variant="cpu", extras=("GPU",))
    with pytest.raises(UsageError, match="no extra 'GPU': no file of the project declares dependencies"):
        resolver.resolve(None, target, None, Indexes())
    assert resolver.resolve(None, evolve(target, extras=()), None, Indexes()) is None


def test_locked_additions_are_taken_without_uv_while_the_packages_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def answer(locked: str, *_: object) -> str:
        asked.append(locked)
        return locked + "jupyterlab==4 \\\n    --hash=sha256:1\nsix==1\n"

    monkeypatch.setattr(uv, "with_additions", answer)
    first = resolver.resolve_additions("Six==1\n", ("jupyterlab",), BASE, None, Indexes(), "Jupyter")
    assert first.requirements == "jupyterlab==4 \\\n    --hash=sha256:1\n"
    assert resolver.resolve_additions("Six==1\n", ("jupyterlab",), BASE, first, Indexes(), "Jupyter") == first
    assert len(asked) == 1
    resolver.resolve_additions("six==2\n", ("jupyterlab",), BASE, first, Indexes(), "Jupyter")
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("address", "refused"),
    [
        ("https://bob:secret@host.example/x-1.zip", True),
        ("https://TOKEN@host.example/x-1.zip", True),
        ("https://bob:${TOKEN}@host.example/x-1.zip", False),
        ("https://host.example/@scope/x-1.zip", False),
    ],
)
def test_no_login_gets_into_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str, refused: bool
) -> None:
    monkeypatch.setattr(uv, "archive_sizes", lambda *_: {})
    line = f"x @ {address} \\\n    --hash=sha256:{'0' * 64}\n"
    monkeypatch.setattr(uv, "compiled", lambda *_, **__: line)
    path = tmp_path / "requirements.txt"
    path.write_text(f"x @ {address}\n")

    def resolved() -> str:
        found = resolver.resolve(
            declaration_in(tmp_path, path), ResolutionTarget(base=BASE, variant="cpu"), None, Indexes()
        )
        return found.requirements if found else ""

    if refused:
        with pytest.raises(UsageError, match="the address of x has a login in it"):
            resolved()
    else:
        assert resolved() == line
