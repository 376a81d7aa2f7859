"""The Python of an image is the one that the project asks for, and it has both commands, with real images and uv."""

import hashlib
import json
import os
import shutil
import subprocess
import tarfile
import tomllib
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.conda_channel import make_channel, python_module, system_python
from tests.folders import write
from tests.integration.program import CONFIG, built, call, ok

SHOW = """import shutil, subprocess, sys
for name in ("python", "python3"):
    found = shutil.which(name)
    asked = [found, "-c", "import sys; print(sys.version_info[:2] == {})".format(tuple(sys.version_info[:2]))]
    print(name, subprocess.check_output(asked, text=True).strip())
print("%d.%d" % sys.version_info[:2])
"""
BOTH = "python True\npython3 True\n"
NEVER = {"UV_PYTHON_DOWNLOADS": "never"}


def _tool(*argv: str) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=120).stdout.strip()


def _locked(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads((folder / "ocicaliban.lock").read_text())["base"]["cpu"]
    return found


Derive = Callable[[str], str]


@pytest.fixture
def derive(base_lock: str) -> Iterator[Derive]:
    """Makes an image of the bootstrapped base and a script: its name."""
    base = tomllib.loads(base_lock)["base"]["cpu"]["digest"].removeprefix("sha256:")
    names: list[str] = []

    def make(script: str) -> str:
        container = _tool("buildah", "from", "--quiet", "--pull-never", base)
        try:
            _tool("buildah", "run", "--isolation", "chroot", container, "--", "sh", "-ec", script)
            names.append(f"localhost/test-{uuid.uuid4().hex[:12]}")
            _tool("buildah", "commit", "--quiet", container, names[-1])
        finally:
            _tool("buildah", "rm", container)
        return names[-1]

    yield make
    for name in names:
        subprocess.run(["podman", "rmi", "-f", name], capture_output=True, check=False)


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a release of a Python as uv's downloads have it, made of this machine's, and uv's list of it."""
    folder = tmp_path_factory.mktemp("mirror")
    version = _tool("/usr/bin/python3", "-c", "import platform; print(platform.python_version())")
    major, minor, patch = version.split(".")
    name = f"python{major}.{minor}"
    left_out = shutil.ignore_patterns("__pycache__", "test", "idlelib", "sitecustomize.py", "dist-packages")
    shutil.copytree(f"/usr/lib/{name}", folder / "python" / "lib" / name, ignore=left_out)
    (folder / "python" / "bin").mkdir()
    shutil.copy(f"/usr/bin/{name}", folder / "python" / "bin" / name)
    archive = folder / "cpython.tar.gz"
    with tarfile.open(archive, "w:gz", compresslevel=1, dereference=True) as tar:
        tar.add(folder / "python", "python")
    machine = os.uname().machine
    entry = {
        "name": "cpython", "arch": {"family": machine, "variant": None}, "os": "linux", "libc": "gnu",
        "major": int(major), "minor": int(minor), "patch": int(patch), "prerelease": "", "variant": None,
        "url": archive.as_uri(), "sha256": hashlib.sha256(archive.read_bytes()).hexdigest(), "build": "20260101",
    }  # fmt: skip
    (folder / "list.json").write_text(json.dumps({f"cpython-{version}-linux-{machine}-gnu": entry}))
    (folder / "version").write_text(version)
    return folder


def _mirrored(mirror: Path, cache: Path) -> Mapping[str, str]:
    """Variables of a machine whose uv takes Pythons from a mirror on disk."""
    return {"UV_PYTHON_DOWNLOADS_JSON_URL": (mirror / "list.json").as_uri(), "UV_CACHE_DIR": str(cache)}


@pytest.mark.usefixtures("base_lock")
@pytest.mark.parametrize("dependencies", ["", '"six"'])
@pytest.mark.parametrize(
    ("asked", "suite", "python"), [(">=3.8,<3.11", "bullseye", "3.9"), (">=3.12", "trixie", "3.13")]
)
def test_another_suite_is_bootstrapped_and_locked(
    tmp_path: Path, asked: str, suite: str, python: str, dependencies: str
) -> None:
    project = (
        f'[project]\nname = "study"\nversion = "1"\nrequires-python = "{asked}"\ndependencies = [{dependencies}]\n'
    )
    write(tmp_path, {"ocicaliban.toml": CONFIG, "pyproject.toml": project, "show.py": SHOW})
    done = ok(tmp_path, "run", "show.py")
    assert done.stdout == f"{BOTH}{python}\n"
    assert f"base: debian:{suite}, Python {python}." in done.stderr
    lock = (tmp_path / "ocicaliban.lock").read_text()
    assert _locked(tmp_path)["reference"] == f"debian:{suite}"
    again = ok(tmp_path, "build", "show.py")
    assert "bootstrapping" not in again.stderr
    assert (tmp_path / "ocicaliban.lock").read_text() == lock


@pytest.mark.usefixtures("base_lock")
def test_a_base_has_both_commands_without_dependencies(tmp_path: Path) -> None:
    write(tmp_path, {"ocicaliban.toml": CONFIG, "show.py": SHOW})
    done = ok(tmp_path, "run", "show.py")
    assert done.stdout.startswith(BOTH)
    assert "base python" not in built(done)
    assert set(_locked(tmp_path)) == {"kind", "reference", "digest", "python", "platform", "libc"}


@pytest.mark.parametrize(
    "script",
    [
        "rm /usr/bin/python",
        "rm /usr/bin/python; printf '#!/bin/sh\\nexit 1\\n' >/usr/bin/python; chmod 755 /usr/bin/python",
    ],
    ids=["missing", "another-program"],
)
def test_an_image_without_python_gets_the_command(tmp_path: Path, derive: Derive, script: str) -> None:
    write(tmp_path, {"ocicaliban.toml": f'[layers.base]\nimage = "{derive(script)}"\n', "show.py": SHOW})
    done = ok(tmp_path, "run", "show.py")
    assert done.stdout.startswith(BOTH)
    assert built(done) == ["base python", "settings"]
    assert _locked(tmp_path)["missing"] == "python"


def test_a_python_of_uv_is_installed_from_a_mirror_and_locked(tmp_path: Path, derive: Derive, mirror: Path) -> None:
    version = (mirror / "version").read_text()
    series = version.rpartition(".")[0]
    image = derive("rm /usr/bin/python*; rm -r /usr/lib/python3*")
    folder = tmp_path / "project"
    venv = "import subprocess; subprocess.check_call(['python3', '-m', 'venv', '--without-pip', '/tmp/v'])\n"
    files = {".python-version": series, "requirements.txt": "six\n", "show.py": SHOW + venv}
    write(folder, {"ocicaliban.toml": f'[layers.base]\nimage = "{image}"\n', **files})
    env = {**_mirrored(mirror, tmp_path / "uv"), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = ok(folder, "run", "show.py", env=env)
    assert done.stdout == f"{BOTH}{series}\n"
    assert f"base: {image}:latest with Python {version} from uv, because .python-version asks for" in done.stderr
    assert built(done) == ["base python", "python", "settings"]
    locked = _locked(folder)
    digest = hashlib.sha256((mirror / "cpython.tar.gz").read_bytes()).hexdigest()
    assert (locked["python"], locked["archive"], locked["archive_sha256"]) == (version, "cpython.tar.gz", digest)
    # The lock is enough: neither the mirror nor the cache is asked again.
    shutil.rmtree(tmp_path / "cache" / "ocicaliban" / "python")
    (folder / "show.py").write_text(SHOW)
    assert ok(folder, "run", "show.py", env={**env, **NEVER}).stdout == f"{BOTH}{series}\n"
    # Another machine fetches it again, and takes no other one.
    other = json.loads((mirror / "list.json").read_text())
    with (tmp_path / "other.tar.gz").open("wb") as file:
        file.write((mirror / "cpython.tar.gz").read_bytes() + b"\0")
    for entry in other.values():
        entry["url"] = (tmp_path / "other.tar.gz").as_uri()
        entry["sha256"] = hashlib.sha256((tmp_path / "other.tar.gz").read_bytes()).hexdigest()
    (tmp_path / "other.json").write_text(json.dumps(other))
    changed = {**env, "UV_PYTHON_DOWNLOADS_JSON_URL": (tmp_path / "other.json").as_uri()}
    failed = call(folder, "build", "--no-cache", "show.py", env=changed)
    assert failed.returncode == 1
    assert f"the Python {version} in ocicaliban.lock (cpython.tar.gz) cannot be fetched" in failed.stderr
    assert "`ocicaliban lock --upgrade base`" in failed.stderr
    assert "base python: building" in ok(folder, "build", "--no-cache", "show.py", env=env).stderr


def test_an_archive_that_was_tampered_with_is_refused(tmp_path: Path, derive: Derive, mirror: Path) -> None:
    image = derive("rm /usr/bin/python*; rm -r /usr/lib/python3*")
    write(tmp_path, {"ocicaliban.toml": f'[layers.base]\nimage = "{image}"\npython = ">=3"\n', "show.py": SHOW})
    wrong = json.loads((mirror / "list.json").read_text())
    for entry in wrong.values():
        entry["sha256"] = "0" * 64
    (tmp_path / "wrong.json").write_text(json.dumps(wrong))
    env = {**_mirrored(mirror, tmp_path / "uv"), "UV_PYTHON_DOWNLOADS_JSON_URL": (tmp_path / "wrong.json").as_uri()}
    failed = call(tmp_path, "run", "show.py", env=env)
    assert failed.returncode == 1
    assert "no python3 that starts" in failed.stderr
    assert "Hash mismatch" in failed.stderr
    assert not (tmp_path / "ocicaliban.lock").exists()


@pytest.mark.usefixtures("base_lock")
@pytest.mark.parametrize("image", [True, False])
def test_a_python_that_nothing_gives_is_an_error_with_the_line_to_write(
    tmp_path: Path, derive: Derive, image: bool
) -> None:
    config = f'[layers.base]\nimage = "{derive("true")}"\n' if image else CONFIG
    write(tmp_path, {"ocicaliban.toml": config, "runtime.txt": "python-3.10\n", "show.py": SHOW})
    failed = call(tmp_path, "run", "show.py", env=NEVER)
    assert failed.returncode == 2
    assert "error: runtime.txt asks for Python 3.10, but the base image " in failed.stderr
    assert "uv cannot download one: " in failed.stderr
    assert '[layers.base]\n       image = "python:3.10-slim-bookworm"' in failed.stderr


def test_a_conda_environment_needs_no_python_in_the_base(tmp_path: Path, derive: Derive) -> None:
    image = derive("rm /usr/bin/python*; rm -r /usr/lib/python3*")
    channel = make_channel(tmp_path / "channel", [system_python(), python_module("hello", "")])
    text = f"channels: [{channel.as_uri()}]\ndependencies: [python, hello]\n"
    files = {"environment.yml": text, "show.py": SHOW + "import hello\n", ".containerignore": "channel\n"}
    write(tmp_path, {"ocicaliban.toml": f'[layers.base]\nimage = "{image}"\n', **files})
    done = ok(tmp_path, "run", "show.py", env=NEVER)
    assert done.stdout.startswith(BOTH)
    assert _locked(tmp_path)["python"] == ""
    assert ok(tmp_path, "run", "show.py", env=NEVER).stdout == done.stdout
