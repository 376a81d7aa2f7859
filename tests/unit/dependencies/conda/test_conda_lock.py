"""Locks of conda-lock, and lists of addresses."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from ocicaliban.dependencies import registry
from ocicaliban.dependencies.conda import packages, solve
from ocicaliban.dependencies.conda.conda_lock import CondaLock, ExplicitLock
from ocicaliban.dependencies.conda.solve import CondaTarget
from ocicaliban.dependencies.declaration import ResolutionTarget
from ocicaliban.errors import OcicalibanError, UsageError
from ocicaliban.model.image import Base

BASE = Base(kind="registry", reference="r", digest="sha256:aa", python="3.11.2", platform="linux/amd64", libc="2.36")
CPU = CondaTarget(base=BASE, variant="cpu")
URL = "https://conda.anaconda.org/conda-forge/linux-64"
WHEEL = "https://files.pythonhosted.org/packages/d9/5a/six-1.16.0-py2.py3-none-any.whl"

ARCHIVES = ("linux-64/python-3.11.2-0_cpython.tar.bz2", "noarch/hello-2.1-py_0.tar.bz2")
HEAD = """\
version: 1
metadata:
  content_hash:
    linux-64: abc
  channels:
  - url: conda-forge
    used_env_vars: []
  platforms:
  - linux-64
  sources:
  - environment.yml
  - ./dev.yml
package:
"""


def entry(name: str, version: str, url: str, **more: str) -> str:
    fields = {"manager": "conda", "platform": "linux-64", "category": "main", "optional": "false"} | more
    sha256 = fields.pop("sha256", "a" * 64)
    hashes = f"  hash:\n    md5: {'b' * 32}\n" + (f"    sha256: {sha256}\n" if sha256 else "")
    depends = fields.pop("depends", "")
    lines = "".join(f"  {key}: {value}\n" for key, value in fields.items())
    return f"- name: {name}\n  version: {version}\n{lines}  dependencies: {{{depends}}}\n  url: {url}\n{hashes}"


LOCK = HEAD + "".join(
    [
        entry("libzlib", "1.3", f"{URL}/libzlib-1.3-0.conda"),
        entry("python", "3.11.9", f"{URL}/python-3.11.9-h0_0_cpython.conda", depends="libzlib: '>=1.3'"),
        entry("python", "3.11.9", f"{URL}/python-3.11.9-osx.conda", platform="osx-64"),
        entry("pytest", "8.2", f"{URL}/pytest-8.2-pyhd8ed1ab_0.conda", category="dev", depends="python: ''"),
        entry("sphinx", "7.3", f"{URL}/sphinx-7.3-pyhd8ed1ab_0.conda", category="docs", depends="python: ''"),
        entry("Six", "1.16.0", WHEEL, manager="pip", sha256="c" * 64),
        entry("own", "1.0", "https://example.org/own-1.0-py3-none-any.whl", manager="pip", sha256="d" * 64),
    ]
)


def locked(root: Path, text: str = LOCK, name: str = "conda-lock.yml") -> CondaLock:
    (root / name).write_text(text)
    (found,) = registry.found_in(root)
    assert isinstance(found, CondaLock)
    return found


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("python=3.11", ""),
        ("conda-forge::python >=3.11,<3.12", ""),
        ("numpy  # [win]", ""),
        ("python=3.12", "does not hold python=3.12"),
        ("numpy>=2", "does not hold numpy>=2"),
        ("python=3.12  # [linux64]", "does not hold python=3.12"),
        ("pip:\n  - Six>=1.16", ""),
        ("pip:\n  - tool @ git+https://example.org/tool\n  - -r more.txt\n  - tool  # [osx]", ""),
        ("pip:\n  - python>=3.11", ""),
        ("pip:\n  - six>=1.17", "does not hold six>=1.17 of pip"),
        ("pip:\n  - tool", "does not hold tool of pip"),
    ],
)
def test_a_lock_for_another_state_of_its_source(tmp_path: Path, spec: str, says: str) -> None:
    lock = locked(tmp_path)
    (tmp_path / "environment.yml").write_text(f"dependencies:\n- libzlib\n- {spec}\n- pip:\n  - six\n")
    assert "environment.yml" in lock.texts()

    def read() -> None:
        lock.environment("linux-64", ())
        lock.resolve(ResolutionTarget(base=BASE, variant="cpu"), "")

    if not says:
        read()
        return
    with pytest.raises(UsageError, match=f"conda-lock.yml is not up to date with environment.yml: it {says}"):
        read()


@pytest.mark.parametrize(
    ("groups", "names"),
    [((), ["libzlib", "python", "pytest"]), (("docs",), ["libzlib", "python", "pytest", "sphinx"])],
)
def test_the_categories_that_conda_lock_installs_are_taken(
    tmp_path: Path, groups: tuple[str, ...], names: list[str]
) -> None:
    lock = locked(tmp_path)
    assert [each.name for each in lock.environment("linux-64", lock.resolved_groups(groups)).packages] == names


def test_what_a_lock_does_not_tell_is_looked_up(tmp_path: Path, channel: Path) -> None:
    data = [(channel / archive).read_bytes() for archive in ARCHIVES]
    hashes = [hashlib.sha256(each).hexdigest() for each in data]
    text = HEAD + entry("python", "3.11.2", f"{channel.as_uri()}/{ARCHIVES[0]}", sha256=hashes[0])
    text += entry("hello", "2.1", f"{channel.as_uri()}/{ARCHIVES[1]}", sha256=hashes[1], depends="python: ''")
    lock = locked(tmp_path, text.replace("b" * 32, ""))
    found = packages.from_text(solve.resolve(lock, CPU, None).requirements)
    assert [(each.name, each.sha256, each.size, each.module, each.runtime) for each in found] == [
        ("hello", hashes[1], len(data[1]), True, False),
        ("python", hashes[0], len(data[0]), False, True),
    ]


def test_the_packages_of_pypi_are_taken_as_they_are(tmp_path: Path) -> None:
    lock = locked(tmp_path)
    assert lock.covers() == ("environment.yml", "dev.yml")
    assert [each.specifier for each in lock.python_requirements()] == ["==3.11.*"]
    assert lock.resolve(ResolutionTarget(base=BASE, variant="cpu"), "") == (
        f"own @ https://example.org/own-1.0-py3-none-any.whl \\\n    --hash=sha256:{'d' * 64}\n"
        f"six==1.16.0 \\\n    --hash=sha256:{'c' * 64}\n"
    )


@pytest.mark.parametrize(
    ("text", "platform", "message"),
    [
        (LOCK, "linux-aarch64", "locks no packages for linux-aarch64, only for linux-64, osx-64"),
        ("version: 2\npackage: []\n", "linux-64", "no lock of version 1"),
        ("version: 1\npackage: {}\n", "linux-64", "no lock of version 1"),
        (HEAD + "- name: x\n", "linux-64", "an entry of 'package' is not complete"),
        ("x: [\n", "linux-64", "this is not YAML"),
    ],
)
def test_a_lock_that_does_not_fit_is_refused(tmp_path: Path, text: str, platform: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        locked(tmp_path, text).environment(platform, ())


def test_an_unknown_category_and_a_wheel_without_hash_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no category 'doc'"):
        locked(tmp_path).resolved_groups(("doc",))
    lock = locked(tmp_path, HEAD + entry("six", "1.16.0", WHEEL, manager="pip", sha256=""))
    with pytest.raises(UsageError, match="six of PyPI has no sha256"):
        lock.resolve(ResolutionTarget(base=BASE, variant="cpu"), "")


# --- lists of addresses ---


def explicit(root: Path, channel: Path, *archives: str, hashes: bool = True) -> ExplicitLock:
    lines = ["# platform: linux-64", "@EXPLICIT"]
    for archive in archives:
        digest = hashlib.md5((channel / archive).read_bytes()).hexdigest()
        lines.append(f"{channel.as_uri()}/{archive}" + (f"#{digest}" if hashes else ""))
    lines.append(f"# pip six @ {WHEEL}#sha256={'c' * 64}")
    (root / "conda-linux-64.lock").write_text("\n".join(lines) + "\n")
    (found,) = registry.found_in(root)
    assert isinstance(found, ExplicitLock)
    return found


@pytest.mark.parametrize("hashes", [True, False])
def test_the_lock_gets_the_sha256_of_listed_packages(tmp_path: Path, channel: Path, hashes: bool) -> None:
    listed = explicit(tmp_path, channel, *ARCHIVES, hashes=hashes)
    found = packages.from_text(solve.resolve(listed, CPU, None).requirements)
    assert [(each.name, each.module, each.runtime) for each in found] == [
        ("hello", True, False),
        ("python", False, True),
    ]
    for each, archive in zip(found, reversed(ARCHIVES), strict=True):
        data = (channel / archive).read_bytes()
        assert (each.sha256, each.size) == (hashlib.sha256(data).hexdigest(), len(data))
    assert [each.specifier for each in listed.python_requirements()] == ["==3.11.*"]
    text = listed.resolve(ResolutionTarget(base=BASE, variant="cpu"), "")
    assert text == f"six==1.16.0 \\\n    --hash=sha256:{'c' * 64}\n"


def test_a_listed_package_with_another_hash_is_refused(tmp_path: Path, channel: Path) -> None:
    listed = explicit(tmp_path, channel, *ARCHIVES)
    text = listed.path.read_text()
    digest = hashlib.md5((channel / ARCHIVES[1]).read_bytes()).hexdigest()
    listed.path.write_text(text.replace(digest, "0" * 32))
    with pytest.raises(OcicalibanError, match="not the one that was locked"):
        solve.resolve(listed, CPU, None)


@pytest.mark.parametrize(
    ("dependency", "says"),
    [
        ("hello >=2", ""),
        ("pip: [six]", ""),
        ("hello >=3", "does not hold hello >=3"),
        ("pip: [toolz]", "does not hold toolz of pip"),
    ],
)
def test_a_list_must_fit_the_environment_beside_it(tmp_path: Path, channel: Path, dependency: str, says: str) -> None:
    listed = explicit(tmp_path, channel, *ARCHIVES)
    (tmp_path / "environment.yml").write_text(f"dependencies:\n- {dependency}\n")
    assert listed.covers() == ("environment.yml",)
    assert "environment.yml" in listed.texts()

    def read() -> None:
        listed.environment("linux-64", ())
        listed.resolve(ResolutionTarget(base=BASE, variant="cpu"), "")

    if not says:
        read()
        return
    with pytest.raises(
        UsageError, match=f"conda-linux-64.lock is not up to date with environment.yml: it {says}"
    ) as raised:
        read()
    assert '[layers.python] requirements = "environment.yml"' in raised.value.hint


def test_a_list_for_another_platform_is_refused(tmp_path: Path, channel: Path) -> None:
    with pytest.raises(UsageError, match="is not for linux-aarch64"):
        explicit(tmp_path, channel, *ARCHIVES).environment("linux-aarch64", ())
