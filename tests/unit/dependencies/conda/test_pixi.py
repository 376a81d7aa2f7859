"""Workspaces of pixi, with a lock and without."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from ocicaliban.dependencies import registry, uv
from ocicaliban.dependencies.conda import packages, solve
from ocicaliban.dependencies.conda.pixi import PixiLock, PixiManifest, PixiPyproject
from ocicaliban.dependencies.conda.solve import CondaTarget
from ocicaliban.dependencies.declaration import ResolutionTarget
from ocicaliban.dependencies.environment import EnvironmentRequest
from ocicaliban.dependencies.survey import read_environment
from ocicaliban.errors import OcicalibanError, UsageError
from ocicaliban.model.image import Base

BASE = Base(kind="registry", reference="r", digest="sha256:aa", python="3.11.2", platform="linux/amd64", libc="2.36")
CPU = CondaTarget(base=BASE, variant="cpu")
TARGET = ResolutionTarget(base=BASE, variant="cpu")

MANIFEST = """
[workspace]
name = "study"
channels = ["conda-forge", {channel = "lab", priority = 1}]
platforms = ["linux-64"]
[dependencies]
python = "3.12.*"
numpy = {version = ">=1.26", channel = "lab"}
[target.linux-64.dependencies]
mkl = "*"
[target.osx-64.dependencies]
accelerate = "*"
[pypi-dependencies]
six = "*"
attrs = {version = ">=23", extras = ["tests"]}
nets = {path = "libs/nets", editable = true}
[pypi-options]
extra-index-urls = ["https://example.org/simple"]
[feature.test.dependencies]
pytest = "*"
[environments]
test = ["test"]
bare = {features = ["test"], no-default-feature = true}
[activation.env]
STUDY = 1
[system-requirements]
cuda = "12.4"
[tasks]
train = "python train.py"
"""


def declared(root: Path) -> PixiManifest:
    (found,) = registry.found_in(root)
    assert isinstance(found, PixiManifest)
    return found


@pytest.mark.parametrize(
    ("groups", "specs"),
    [
        ((), ("python 3.12.*", "lab::numpy[version='>=1.26']", "mkl *")),
        (("test",), ("python 3.12.*", "lab::numpy[version='>=1.26']", "mkl *", "pytest *")),
        (("bare",), ("pytest *",)),
    ],
)
def test_an_environment_is_that_of_its_features(
    tmp_path: Path, groups: tuple[str, ...], specs: tuple[str, ...]
) -> None:
    (tmp_path / "pixi.toml").write_text(MANIFEST)
    found = declared(tmp_path)
    environment = found.environment("linux-64", found.resolved_groups(groups))
    assert (environment.channels, environment.specs, environment.cuda) == (("conda-forge", "lab"), specs, "12.4")
    assert found.variables() == {"STUDY": "1"} and found.unread_parts() == ("[tasks] of pixi.toml",)
    assert [each.specifier for each in found.python_requirements()] == ["==3.12.*"]


def test_uv_resolves_the_packages_of_pypi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pixi.toml").write_text(MANIFEST)
    asked: list[str] = []

    def compiled(arguments: list[str], *_: object, **__: object) -> str:
        asked.append(Path(arguments[-1]).read_text())
        return "six==1.16.0\n"

    monkeypatch.setattr(uv, "compiled", compiled)
    assert declared(tmp_path).resolve(TARGET, "") == "six==1.16.0\n"
    assert asked == [
        f"--extra-index-url https://example.org/simple\nsix\nattrs[tests]>=23\n-e {(tmp_path / 'libs/nets').as_uri()}\n"
    ]


def test_a_workspace_in_pyproject_includes_the_projects_dependencies(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "study"\nrequires-python = ">=3.11"\ndependencies = ["six"]\n'
        '[tool.pixi.workspace]\nchannels = ["conda-forge"]\nplatforms = ["linux-64"]\n'
        '[tool.pixi.dependencies]\nnumpy = "*"\n'
    )
    found = registry.find_declaration(tmp_path)
    assert isinstance(found, PixiPyproject) and found.shown == "[tool.pixi] of pyproject.toml"
    assert found.environment("linux-64", ()).specs == ("numpy *", "python >=3.11")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[dependencies]\nx = {git = "https://example.org/x"}\n', "only packages of channels can be installed"),
        ("[dependencies]\nx = 3\n", "only packages of channels can be installed"),
        ("[dependencies\n", "pixi.toml:1: not valid TOML"),
    ],
)
def test_a_mistake_in_the_manifest_is_told(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "pixi.toml").write_text(text)
    with pytest.raises(UsageError, match=message):
        declared(tmp_path).environment("linux-64", ())


FITTING = """
[workspace]
channels = ["conda-forge"]
platforms = ["linux-64"]
[dependencies]
python = "3.11.*"
hello = "2.*"
[pypi-dependencies]
six = "*"
"""


def lock(root: Path, channel: Path) -> PixiLock:
    archives = ["linux-64/python-3.11.2-0_cpython.tar.bz2", "noarch/hello-2.1-py_0.tar.bz2"]
    urls = {f"{channel.as_uri()}/{archive}": (channel / archive).read_bytes() for archive in archives}
    wheel = "https://files.pythonhosted.org/packages/d9/5a/six-1.16.0-py2.py3-none-any.whl"
    lines = ["version: 6", "environments:", "  default:", "    channels:", f"    - url: {channel.as_uri()}/"]
    lines += ["    indexes:", "    - https://pypi.org/simple", "    packages:", "      linux-64:"]
    lines += [f"      - conda: {url}" for url in urls] + [f"      - pypi: {wheel}", "packages:"]
    for url, data in urls.items():
        subdir = url.split("/")[-2]
        lines += [
            f"- conda: {url}",
            f"  subdir: {subdir}",
            f"  channel: {channel.as_uri()}",
            f"  sha256: {hashlib.sha256(data).hexdigest()}",
            f"  size: {len(data)}",
        ]
        lines += ["  depends:", "  - python >=3.9"] if "hello" in url else ["  depends: []"]
    lines += [f"- pypi: {wheel}", "  name: six", "  version: 1.16.0", f"  sha256: {'c' * 64}"]
    (root / "pixi.toml").write_text(MANIFEST)
    (root / "pixi.lock").write_text("\n".join(lines) + "\n")
    found = registry.find_declaration(root)
    assert isinstance(found, PixiLock)
    return found


def test_a_lock_is_taken_as_it_is(tmp_path: Path, channel: Path) -> None:
    found = lock(tmp_path, channel)
    (tmp_path / "pixi.toml").write_text(FITTING)
    locked = packages.from_text(solve.resolve(found, CPU, None).requirements)
    assert [(each.name, each.version, each.module, each.runtime) for each in locked] == [
        ("hello", "2.1", True, False),
        ("python", "3.11.2", False, True),
    ]
    assert found.resolve(TARGET, "") == f"six==1.16.0 \\\n    --hash=sha256:{'c' * 64}\n"
    assert read_environment(EnvironmentRequest(root=tmp_path)).declaration == found
    assert found.covers() == ("pixi.toml",) and set(found.texts()) == {"pixi.toml", "pixi.lock"}


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("3.11.*", "3.11.*", ""),
        ("3.11.*", "3.12.*", "does not hold python 3.12"),
        ('hello = "2.*"', 'hello = "2.*"\nnew = "*"', r"does not hold new"),
        ('six = "*"', 'six = ">=1.17"', "does not hold six>=1.17"),
        ('six = "*"', 'six = "*"\nattrs = "*"', "does not hold attrs"),
        ('six = "*"', 'hello = ">=2"', ""),  # conda has it
        ('six = "*"', 'six = ">=2"\n[pypi-options.dependency-overrides]\nsix = ">=1.16"\nattrs = "*"', ""),
        ('six = "*"', 'six = "*"\n[pypi-options.dependency-overrides]\nsix = "<1.16"', "does not hold six<1.16"),
    ],
)
def test_a_lock_for_another_manifest(tmp_path: Path, channel: Path, before: str, after: str, says: str) -> None:
    found = lock(tmp_path, channel)
    (tmp_path / "pixi.toml").write_text(FITTING.replace(before, after))

    def read() -> None:
        found.environment("linux-64", ())
        found.resolve(TARGET, "")

    if not says:
        read()
        return
    with pytest.raises(UsageError, match=says) as raised:
        read()
    assert raised.value.hint == "run `pixi lock`"


@pytest.mark.parametrize(
    ("platform", "groups", "message"),
    [
        ("linux-aarch64", (), "it locks no packages for linux-aarch64, only for linux-64"),
        ("linux-64", ("docs",), "there is no environment 'docs'; it has default"),
    ],
)
def test_what_a_lock_does_not_have_is_told(
    tmp_path: Path, channel: Path, platform: str, groups: tuple[str, ...], message: str
) -> None:
    with pytest.raises(OcicalibanError, match=message):
        lock(tmp_path, channel).environment(platform, groups)


def test_a_damaged_lock_is_told(tmp_path: Path, channel: Path) -> None:
    found = lock(tmp_path, channel)
    found.path.write_text("version: [\n")
    with pytest.raises(OcicalibanError, match=r"pixi\.lock cannot be read"):
        found.environment("linux-64", ())
