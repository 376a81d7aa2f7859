"""How uv is asked for the dependencies of a project that setuptools builds."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from ocicaliban.dependencies.declaration import Declaration, ResolutionTarget
from ocicaliban.dependencies.registry import find_declaration
from ocicaliban.errors import ToolError
from tests.plans import BASE

SETUP = "from setuptools import setup\n"
COMPUTED = f"{SETUP}setup(name='x', install_requires=open('reqs.txt').read().split())\n"
FLAT = "error: Multiple top-level packages discovered in a flat-layout: ['a', 'b']."


class Uv:
    """A stand-in for `Declaration.compiled`: it fails with each text in turn, "" for success."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *faults: str) -> None:
        self.asked: list[tuple[Path, tuple[str, ...]]] = []
        self.seen: list[tuple[str, bool]] = []
        self._faults = list(faults)
        monkeypatch.setattr(Declaration, "compiled", lambda _, target, __, files: self._answer(target, files[0]))

    def _answer(self, target: ResolutionTarget, path: Path) -> str:
        self.asked.append((path, target.extras))
        self.seen.append((path.read_text(), (path.parent / "src").is_dir()))
        if self._faults and (fault := self._faults.pop(0)):
            raise ToolError("cannot be resolved", stderr=fault)
        return "six==1\n"


def resolve(folder: Path, extras: tuple[str, ...] = ()) -> str:
    declaration = find_declaration(folder)
    assert declaration
    return declaration.resolve(ResolutionTarget(base=BASE, variant="cpu", extras=extras), "")


def test_requirements_that_are_spelt_out_need_no_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uv = Uv(monkeypatch)
    (tmp_path / "setup.py").write_text(
        f"{SETUP}setup(name='my x', install_requires=['six'], extras_require={{'a': []}})"
    )
    (tmp_path / "pyproject.toml").write_text(
        '[tool.uv]\npackage = false\n[tool.uv.sources]\nsix = {path = "libs/six"}\nidna = {index = "own"}\n'
        '[[tool.uv.index]]\nname = "own"\nurl = "simple"\n'
    )
    assert resolve(tmp_path) == "six==1\n"
    [(text, _)] = uv.seen
    assert tomllib.loads(text) == {
        "project": {"name": "project", "version": "0", "dependencies": ["six"], "optional-dependencies": {"a": []}},
        "tool": {
            "uv": {
                "sources": {"six": {"path": f"{tmp_path}/libs/six"}, "idna": {"index": "own"}},
                "index": [{"name": "own", "url": f"{tmp_path}/simple"}],
            }
        },
    }
    assert not uv.asked[0][0].is_relative_to(tmp_path)


def test_a_build_is_asked_for_the_variants_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uv = Uv(monkeypatch, "Requested extras not found: cpu, b", "Requested extra not found: b")
    (tmp_path / "setup.py").write_text(COMPUTED)
    with pytest.raises(ToolError, match=r"setup\.py declares no extra 'b'"):
        resolve(tmp_path, ("b",))
    assert [extras for _, extras in uv.asked] == [("b", "cpu"), ("b",)]
    assert {path.name for path, _ in uv.asked} == {"setup.py"} and [*tmp_path.iterdir()] == [tmp_path / "setup.py"]


def test_a_flat_folder_that_setuptools_refuses_is_built_without_a_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uv = Uv(monkeypatch, FLAT)
    (tmp_path / "setup.py").write_text(COMPUTED)
    assert resolve(tmp_path) == "six==1\n"
    (first, _), (second, _) = uv.asked
    assert first == second and second.name == "setup.py" and not second.is_relative_to(tmp_path)
    assert uv.seen == [(COMPUTED, False), (COMPUTED, True)]
    assert not (tmp_path / "src").exists() and not second.exists()


@pytest.mark.parametrize(
    "faults",
    [("ModuleNotFoundError: No module named 'numpy.core'",), (FLAT, "ModuleNotFoundError: No module named 'numpy'")],
)
def test_a_module_that_the_build_lacks_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, faults: tuple[str, ...]
) -> None:
    Uv(monkeypatch, *faults)
    (tmp_path / "setup.py").write_text(COMPUTED)
    with pytest.raises(ToolError, match=r"setup\.py needs the module 'numpy") as fault:
        resolve(tmp_path)
    assert 'requires = ["setuptools", "numpy"]' in fault.value.hint and "Traceback" not in str(fault.value)


def test_a_build_writes_into_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in ("setup.py", "reqs.txt", "src/x/__init__.py", "data/big.bin", "x.egg-info/PKG-INFO"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(COMPUTED)
    seen: dict[str, bool] = {}

    def compiled(_self: Declaration, _target: object, _preferred: str, files: tuple[Path, ...]) -> str:
        folder = files[0].parent
        seen.update({str(path.relative_to(folder)): path.is_symlink() for path in sorted(folder.rglob("*"))})
        (folder / "x.egg-info").mkdir()
        (folder / "src" / "x.egg-info").mkdir()
        return ""

    monkeypatch.setattr(Declaration, "compiled", compiled)
    before = sorted(tmp_path.rglob("*"))
    resolve(tmp_path)
    assert sorted(tmp_path.rglob("*")) == before
    assert seen == {"setup.py": False, "reqs.txt": True, "src": False, "src/x": True, "data": True}
