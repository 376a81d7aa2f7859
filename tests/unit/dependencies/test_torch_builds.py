"""CPU builds of torch for images without a GPU."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from ocicaliban.dependencies import resolver, torch_builds, uv
from ocicaliban.dependencies.declaration import Declaration, ResolutionTarget
from ocicaliban.dependencies.host_settings import HostSettings
from ocicaliban.dependencies.indexes import CPU_BUILDS, Indexes
from ocicaliban.dependencies.registry import find_declaration
from ocicaliban.errors import ToolError, UsageError
from tests.plans import BASE

CUDA = "nvidia-cublas==13.4 \\\n    --hash=sha256:00\ntorch==2.15.0 \\\n    --hash=sha256:01\ntriton==3.9.0\n"
CPU = "torch==2.13.0+cpu \\\n    --hash=sha256:02\n"
TARGET = ResolutionTarget(base=BASE, variant="cpu")
HOST = HostSettings(
    ca_bundle=None, index_url="", extra_index_urls=("own=https://i.example/simple",), find_links=("/w",)
)


@pytest.mark.parametrize(
    ("requirements", "expected"),
    [
        (CUDA, True),
        (CPU, False),
        ("torch==2.15.0\n", False),
        ("torch==2.15.0+cu128\nnvidia-cublas==13.4\n", False),
        ("jax==0.4\nnvidia-cublas==13.4\n", False),
        ("torch==2.13.0+cpu\nnvidia-cublas==13.4\n", False),
        ("torch==2.15.0 ; sys_platform == 'linux'\ncuda-bindings==13.5.0 ; sys_platform == 'linux'\n", True),
        ("", False),
    ],
)
def test_torch_brings_cuda_unless_a_build_is_named(requirements: str, expected: bool) -> None:
    assert torch_builds.bring_cuda(requirements) is expected


SOURCES = '[project]\nname = "x"\ndependencies = ["torch"]\n[tool.uv.sources]\ntorch = { index = "x" }\n'


@pytest.mark.parametrize(
    ("files", "indexes", "hashes", "expected"),
    [
        ({"requirements.txt": "torch\n"}, Indexes(), {}, False),
        ({"requirements.txt": "torch>=2\n"}, Indexes(indexes=("https://pypi.example/simple",)), {}, False),
        ({"requirements.txt": "torch\n"}, Indexes(indexes=("https://download.pytorch.org/whl/cu128",)), {}, True),
        (
            {"requirements.txt": "torch\n"},
            Indexes(find_links=("https://mirror.example/whl/torch_stable.html",)),
            {},
            True,
        ),
        ({"requirements.txt": "torch==2.1\n"}, Indexes(), {"torch": frozenset({"sha256:00"})}, True),
        ({"requirements.txt": "torch==2.7.0\nnvidia-cublas-cu12==12.6.4.1\n"}, Indexes(), {}, True),
        ({"requirements.txt": "torch==2.7.0\ntriton==3.3.0\n"}, Indexes(), {}, True),
        ({"pyproject.toml": '[project]\nname = "x"\ndependencies = ["torch", "tritonclient"]\n'}, Indexes(), {}, False),
        ({"pyproject.toml": SOURCES}, Indexes(), {}, True),
        ({"pyproject.toml": '[project]\nname = "x"\n[tool.uv.pip]\ntorch-backend = "auto"\n'}, Indexes(), {}, True),
        ({"pyproject.toml": '[project]\nname = "x"\n', "uv.lock": "version = 1\n"}, Indexes(), {}, True),
    ],
)
def test_a_project_may_decide_which_build_it_wants(
    tmp_path: Path, files: dict[str, str], indexes: Indexes, hashes: dict[str, object], expected: bool
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    declaration = find_declaration(tmp_path)
    assert declaration and torch_builds.decides(declaration, indexes, hashes) is expected


class Uv:
    """A stand-in for uv: `there` has the newest torch of each source, and `resolved` what it resolves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, there: dict[str, str], resolved: str = CPU) -> None:
        self.there = there
        self.resolved = resolved
        self.pinned: list[dict[str, object]] = []
        monkeypatch.setattr(uv, "compiled", self._probed)
        monkeypatch.setattr(Declaration, "compiled", self._compiled)

    def _probed(self, arguments: list[str], _base: object, only: HostSettings, *_: object, **__: object) -> str:
        name = Path(arguments[-1]).read_text().strip()
        sources = (only.index_url, *only.find_links)
        version = next((self.there.get(source, "") for source in sources if source), "")
        if not version or name != "torch":
            raise ToolError("no answer")
        return f"torch=={version} \\\n    --hash=sha256:02\n"

    def _compiled(self, target: ResolutionTarget, *_: object) -> str:
        [path] = target.also
        self.pinned.append(tomllib.loads(path.read_text()))
        if not self.resolved:
            raise ToolError("no solution")
        return self.resolved


def declaration_in(folder: Path) -> Declaration:
    (folder / "requirements.txt").write_text("torch\n")
    found = find_declaration(folder)
    assert found
    return found


@pytest.mark.parametrize(
    ("there", "url", "origin"),
    [
        ({CPU_BUILDS: "2.15.0+cpu", "/w": "2.13.0+cpu"}, CPU_BUILDS, f"    # from {CPU_BUILDS}\n"),
        ({"/w": "2.13.0+cpu"}, "/w", ""),
        ({"/w": "2.15.0", "https://i.example/simple": "2.13.0+cpu"}, "https://i.example/simple", ""),
    ],
)
def test_the_first_source_with_cpu_builds_is_taken_for_torch_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: dict[str, str], url: str, origin: str
) -> None:
    tool = Uv(monkeypatch, there)
    found = torch_builds.with_cpu_builds(declaration_in(tmp_path), TARGET, HOST, CUDA, "")
    assert found == CPU + origin
    index = {
        "name": "ocicaliban-cpu-builds",
        "url": url,
        "explicit": True,
        **({"format": "flat"} if url == "/w" else {}),
    }
    assert tool.pinned == [
        {
            "project": {"name": "ocicaliban-cpu-builds", "version": "0", "dependencies": ["torch"]},
            "tool": {"uv": {"sources": {"torch": {"index": "ocicaliban-cpu-builds"}}, "index": [index]}},
        }
    ]


@pytest.mark.parametrize(
    ("first", "there", "resolved", "have"),
    [
        (CUDA, {}, CPU, "your own indexes have none"),
        (CUDA, {"/w": "2.13.0+cpu"}, "", r"your own indexes have torch==2\.13\.0\+cpu"),
        (CUDA, {"/w": "2.13.0+cpu"}, CUDA, r"your own indexes have torch==2\.13\.0\+cpu"),
        (CUDA + "torchvision==0.30.0\n", {"/w": "2.13.0+cpu"}, CPU, r"brings torch==2\.15\.0, torchvision==0\.30\.0"),
    ],
)
def test_an_error_names_the_ways_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: str, there: dict[str, str], resolved: str, have: str
) -> None:
    Uv(monkeypatch, there, resolved)
    with pytest.raises(UsageError, match=have) as fault:
        torch_builds.with_cpu_builds(declaration_in(tmp_path), TARGET, HOST, first, "")
    assert fault.value.message.startswith("requirements.txt brings torch==2.15.0") and "2 packages of CUDA" in str(
        fault
    )
    assert "extra-index-url" in fault.value.hint and 'torch = "any"' in fault.value.hint


def test_an_image_for_a_gpu_or_with_any_build_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    declaration = declaration_in(tmp_path)
    monkeypatch.setattr(Declaration, "compiled", lambda *_: CUDA)
    monkeypatch.setattr(uv, "archive_sizes", lambda *_: {})
    monkeypatch.setattr(uv, "with_hashes", lambda text, *_: text)
    for target in (
        ResolutionTarget(base=BASE, variant="gpu"),
        ResolutionTarget(base=BASE, variant="cpu", torch="any"),
    ):
        found = resolver.resolve(declaration, target, None, Indexes())
        assert found and found.requirements == CUDA and found.indexes == {}


def test_pytorchs_index_is_kept_for_the_installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    declaration = declaration_in(tmp_path)
    tool = Uv(monkeypatch, {CPU_BUILDS: "2.15.0+cpu"})
    monkeypatch.setattr(Declaration, "compiled", lambda _, target, *__: tool._compiled(target) if target.also else CUDA)
    monkeypatch.setattr(uv, "archive_sizes", lambda *_: {})
    monkeypatch.setattr(uv, "with_hashes", lambda text, *_: text)
    found = resolver.resolve(declaration, TARGET, None, Indexes())
    assert found and found.requirements == CPU and found.indexes == {"torch": CPU_BUILDS}
    assert resolver.resolve(declaration, TARGET, found, Indexes()) is found
