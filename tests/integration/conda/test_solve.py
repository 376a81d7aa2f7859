"""Resolve, fetch and install from a channel on disk and over HTTP, with rattler itself."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import evolve

from ocicaliban.dependencies.conda import packages, solve
from ocicaliban.dependencies.conda.environment_yml import EnvironmentYml
from ocicaliban.dependencies.conda.install import PackageTree
from ocicaliban.dependencies.conda.packages import CondaPackage
from ocicaliban.dependencies.conda.solve import CondaTarget
from ocicaliban.errors import OcicalibanError
from ocicaliban.model.image import Base
from tests.conda_channel import make_channel, python_module, served

BASE = Base(kind="registry", reference="r", digest="sha256:aa", python="3.9.2", platform="linux/amd64", libc="2.36")
CPU = CondaTarget(base=BASE, variant="cpu")


@pytest.fixture(params=["file", "http"])
def address(request: pytest.FixtureRequest, tmp_path: Path, channel: Path) -> Iterator[tuple[str, Path]]:
    """The address of a copy of the channel, and its folder."""
    folder = tmp_path / "channel"
    shutil.copytree(channel, folder)
    if request.param == "file":
        yield folder.as_uri(), folder
        return

    with served(folder) as url:
        yield url, folder


def declared(root: Path, channel: str, *specs: str) -> EnvironmentYml:
    text = f'channels: ["{channel}"]\ndependencies:\n' + "".join(f'  - "{spec}"\n' for spec in specs)
    (root / "environment.yml").write_text(text)
    return EnvironmentYml(root=root, path=root / "environment.yml")


def tree(declaration: EnvironmentYml, found: tuple[CondaPackage, ...]) -> PackageTree:
    python = next((package for package in found if package.name == "python"), None)
    return PackageTree(
        packages=found, python=python, platform="linux-64", file="environment.yml",
        fetched_from=lambda wanted: solve.fetch_job(wanted, declaration),
    )  # fmt: skip


def test_packages_are_locked_and_installed_alike_each_time(tmp_path: Path, address: tuple[str, Path]) -> None:
    declaration = declared(tmp_path, address[0], "python=3.11", "hello")
    locked = solve.resolve(declaration, CPU, None)
    found = packages.from_text(locked.requirements)
    assert [(each.name, each.module, each.runtime) for each in found] == [
        ("hello", True, False), ("libstub", False, True), ("python", False, True),
    ]  # fmt: skip
    assert all(each.url.startswith(address[0]) and len(each.sha256) == 64 for each in found)
    assert solve.resolve(declaration, CPU, locked) is locked

    made = []
    for name, umask in (("one", 0o022), ("two", 0o077)):
        before = os.umask(umask)
        (tmp_path / name).mkdir()
        try:
            made.append(tree(declaration, found).make(tmp_path / name, pytest.fail))
        finally:
            os.umask(before)
        shutil.rmtree(tmp_path / "cache")
    assert made[0].entries == made[1].entries
    entries = {entry.path: entry for entry in made[0].entries}
    assert entries["bin/hello"].executable and not entries["lib/python3.11/os.py"].executable
    assert (entries["bin/python"].kind, entries["bin/python"].digest) == ("link", "python3.11")
    assert (made[0].root / "bin/stub").read_text() == "#!/bin/sh\necho /opt/conda\n"
    assert (made[0].root / "bin/hello").read_text().startswith("#!/opt/conda/bin/python3.11\n")
    assert entries["lib/python3.11/site-packages/hello.py"].kind == "file"
    # Flags 1: used without a look at the source. The rest is the package's.
    code = (made[0].root / "lib/python3.11/__pycache__/os.cpython-311.pyc").read_bytes()
    assert code == b"\xa7\r\r\n\1\0\0\0" + b"\0" * 8 + b"code"
    for path in made[0].root.glob("conda-meta/*"):
        assert str(tmp_path / "one") not in path.read_text() and "archives" not in path.read_text()


def test_a_package_that_is_not_the_locked_one_is_refused(tmp_path: Path, address: tuple[str, Path]) -> None:
    declaration = declared(tmp_path, address[0], "hello")
    found = packages.from_text(solve.resolve(declaration, CPU, None).requirements)
    make_channel(address[1], [python_module("hello", "def main(): print('evil')\n", version="2.1")])
    with pytest.raises(OcicalibanError, match="this conda package is not the one that was locked") as told:
        tree(declaration, found).make(tmp_path, pytest.fail)
    assert "hello-2.1-py_0.tar.bz2" in told.value.message and "expected" in told.value.message


def test_a_mirror_is_asked_and_the_lock_names_the_channel(tmp_path: Path, address: tuple[str, Path]) -> None:
    if address[0].startswith("file:"):
        pytest.skip("a mirror is on the network")
    settings = tmp_path / ".config" / "rattler" / "config.toml"
    settings.parent.mkdir(parents=True)
    settings.write_text(f'[mirrors]\n"https://conda.anaconda.org/conda-forge" = ["{address[0]}"]\n')
    declaration = declared(tmp_path, "conda-forge", "libstub")
    (found,) = packages.from_text(solve.resolve(declaration, CPU, None).requirements)
    assert found.url == "https://conda.anaconda.org/conda-forge/linux-64/libstub-1.2-0.tar.bz2"
    assert (tree(declaration, (found,)).make(tmp_path, pytest.fail).root / "bin/stub").exists()


def test_a_password_is_used_and_locked_nowhere(tmp_path: Path, channel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with served(channel, "user:secret") as url:
        monkeypatch.setenv("CHANNEL_LOGIN", "user:secret")
        declaration = declared(tmp_path, url.replace("://", "://${CHANNEL_LOGIN}@"), "libstub")
        text = solve.resolve(declaration, CPU, None).requirements
        assert text.startswith(f"{url}/linux-64/libstub-1.2-0.tar.bz2\n") and "secret" not in text
        made = tree(declaration, packages.from_text(text)).make(tmp_path, pytest.fail)
        assert "secret" not in (made.root / "conda-meta/libstub-1.2-0.json").read_text()


def test_a_damaged_cache_is_fetched_again(tmp_path: Path, channel: Path, own_cache: Path) -> None:
    declaration = declared(tmp_path, channel.as_uri(), "libstub")
    found = packages.from_text(solve.resolve(declaration, CPU, None).requirements)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        made = tree(declaration, found).make(tmp_path / name, pytest.fail)
        assert (made.root / "bin/stub").exists()
        (archive,) = own_cache.glob("archives/*/libstub-1.2-0.tar.bz2")
        archive.write_bytes(b"damaged")


def test_an_environment_may_have_no_python(tmp_path: Path, channel: Path) -> None:
    declaration = declared(tmp_path, channel.as_uri(), "libstub", "linked")
    found = packages.from_text(solve.resolve(declaration, CPU, None).requirements)
    assert packages.python_version(found) == "" and not any(each.runtime for each in found)
    warnings: list[str] = []
    made = tree(declaration, found).make(tmp_path, warnings.append)
    assert "share/linked" in {entry.path for entry in made.entries}
    assert warnings == [
        "conda's linked has a script for after its installation (post-link), which is not run",
        "conda's linked sets variables at activation, which containers do not get: LINKED_DATA=/opt/conda/share, OTHER;"
        " if you need them, write them into the variables of environment.yml",
    ]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("nosuch", "cannot be resolved for linux-64\n(.|\n)*nosuch"),
        ("hello<1", "cannot be resolved for linux-64\n(.|\n)*hello <1"),
        ("hello >>", "cannot be resolved"),
    ],
)
def test_what_does_not_fit_is_told(tmp_path: Path, channel: Path, spec: str, message: str) -> None:
    with pytest.raises(OcicalibanError, match=message):
        solve.resolve(declared(tmp_path, channel.as_uri(), spec), CPU, None)


def test_the_images_libc_counts_and_not_this_machines(tmp_path: Path, channel: Path) -> None:
    old = evolve(CPU, base=evolve(BASE, libc="2.12"))
    with pytest.raises(OcicalibanError, match="__glibc"):
        solve.resolve(declared(tmp_path, channel.as_uri(), "python"), old, None)


def test_an_unreachable_channel_is_told_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(OcicalibanError) as told:
        solve.resolve(declared(tmp_path, "http://user:secret@127.0.0.1:9/c", "python"), CPU, None)
    assert told.value.message.startswith("environment.yml: the conda channel http://127.0.0.1:9/c cannot be read: ")
    assert "\n" not in told.value.message
    assert "secret" not in told.value.message and "CONDA_CHANNEL_ALIAS" in told.value.hint
