"""The dependency groups that are installed are those of `uv run`, with and without a lock."""

import subprocess
import tempfile
import zipfile
from pathlib import Path

import pytest
import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ocicaliban.dependencies.declaration import ResolutionTarget
from ocicaliban.dependencies.locked_requirements import entries, name
from ocicaliban.dependencies.registry import find_declaration
from ocicaliban.errors import UsageError
from ocicaliban.model.image import Base

PACKAGES = ("aa", "bb", "cc", "dd")
GROUPS = ("dev", "test", "Docs_All", "lint")
BASE = Base(kind="local", reference="r", python="3.11.2", platform="linux/amd64", libc="2.36")


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheels")
    for package in PACKAGES:
        info = f"{package}-1.0.dist-info"
        with zipfile.ZipFile(folder / f"{package}-1.0-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
            wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{info}/RECORD", "")
    return folder


@st.composite
def manifests(draw: st.DrawFn) -> dict[str, object]:
    """A pyproject.toml whose groups include only those before them, so that there is no circle."""
    groups: dict[str, list[object]] = {}
    for group in draw(st.lists(st.sampled_from(GROUPS), unique=True)):
        included = draw(st.lists(st.sampled_from([*groups]), unique=True, max_size=2)) if groups else []
        packages = draw(st.lists(st.sampled_from(PACKAGES), unique=True, max_size=2))
        groups[group] = [*packages, *({"include-group": each} for each in included)]
    tool: dict[str, object] = {}
    if draw(st.booleans()):
        tool["dev-dependencies"] = draw(st.lists(st.sampled_from(PACKAGES), unique=True, max_size=2))
    defaults = draw(st.sampled_from(["none", "all", "some"]))
    if defaults != "none":
        some = st.lists(st.sampled_from([*groups, "docs-all", "other"]), unique=True, max_size=2)
        tool["default-groups"] = "all" if defaults == "all" else draw(some)
    project = {"name": "x", "version": "1", "requires-python": ">=3.9", "dependencies": ["aa"]}
    return {"project": project, "dependency-groups": groups, "tool": {"uv": tool}}


def _installed(folder: Path) -> set[str] | None:
    """Return what we install of the project in a folder, None if we refuse it."""
    declaration = find_declaration(folder)
    assert declaration
    try:
        groups = declaration.resolved_groups(())
    except UsageError:
        return None
    text = declaration.resolve(ResolutionTarget(base=BASE, variant="cpu", groups=groups), "")
    return {found for each in entries(text) if (found := name(each)) in PACKAGES}


@settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(manifest=manifests())
def test_the_groups_are_those_of_uv(manifest: dict[str, object], wheels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in {"UV_FIND_LINKS": str(wheels), "UV_OFFLINE": "1", "UV_PYTHON_DOWNLOADS": "never"}.items():
        monkeypatch.setenv(variable, value)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "pyproject.toml").write_text(tomli_w.dumps(manifest))
        words = ("uv", "export", "--quiet", "--no-hashes", "--no-header", "--no-annotate", "--no-emit-project")
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
        theirs = {name(each) for each in entries(done.stdout)} if done.returncode == 0 else None
        # With the lock that uv has just written, and without it.
        assert _installed(folder) == theirs
        (folder / "uv.lock").unlink(missing_ok=True)
        assert _installed(folder) == theirs
