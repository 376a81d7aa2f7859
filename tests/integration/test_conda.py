"""Conda environments from a channel made on the spot: resolved, locked, installed and run for real."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conda_channel import PLACEHOLDER, CondaPackage, make_channel, python_module, served, system_python
from tests.folders import write
from tests.integration.program import CONFIG, built, call, ok

HELLO = "import sys\ndef main(): print('hello from', sys.executable)\n"
SHOW = """
import importlib.metadata, json, os, subprocess, sys
import hello
try:
    import six
except ImportError:
    six = None
print(json.dumps({
    "python": sys.executable, "six": bool(six), "hello": importlib.metadata.version("hello"),
    "byte code": os.path.exists(hello.__cached__), "study": os.environ.get("STUDY"),
    "said": subprocess.run(["hello"], capture_output=True, text=True).stdout,
    "stub": subprocess.run(["stub"], capture_output=True, text=True).stdout,
}))
"""
STUB = CondaPackage(name="stub", files={"bin/stub": f"#!/bin/sh\necho {PLACEHOLDER}/share\n"}, padding=6_000_000)


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A channel with this machine's Python, a program above 5 MB, and modules."""
    folder = tmp_path_factory.mktemp("channel")
    extra = python_module("extra", "def main(): pass\n")
    return make_channel(folder, [system_python(), STUB, python_module("hello", HELLO, version="2.1"), extra])


@pytest.fixture
def channel(packages: Path, tmp_path: Path) -> Path:
    """A copy of the channel, in the project's folder."""
    shutil.copytree(packages, tmp_path / "channel")
    write(tmp_path, {".containerignore": "channel\n"})
    return tmp_path / "channel"


@pytest.fixture
def address(channel: Path) -> Iterator[str]:
    """The channel's address over HTTP."""
    with served(channel) as url:
        yield url


def _environment(channel: str, *specs: str) -> str:
    listed = "".join(f"  - {spec}\n" for spec in specs)
    return f"channels: [{channel}]\ndependencies:\n{listed}  - pip: [six]\nvariables: {{STUDY: here}}\n"


def test_an_environment_runs_with_condas_python(address: str, base_lock: str, tmp_path: Path) -> None:
    text = _environment(address, "python", "hello", "stub")
    write(tmp_path, {"ocicaliban.toml": CONFIG, "ocicaliban.lock": base_lock, "environment.yml": text, "run.py": SHOW})
    done = ok(tmp_path, "run", "run.py")
    assert built(done)[:4] == ["conda python", "conda 5MB+", "conda", "conda byte code"]
    assert json.loads(done.stdout) == {
        "python": "/opt/conda/bin/python3", "six": True, "hello": "2.1", "byte code": True, "study": "here",
        "said": "hello from /opt/conda/bin/python3.11\n", "stub": "/opt/conda/share\n",
    }  # fmt: skip

    # One more small package stores neither Python nor the large package again.
    write(tmp_path, {"environment.yml": _environment(address, "python", "hello", "stub", "extra")})
    assert built(ok(tmp_path, "run", "run.py"))[:2] == ["conda", "conda byte code"]

    # The lock is enough: no channel is asked, and the archives are in the cache.
    shutil.rmtree(tmp_path / "channel")
    assert ok(tmp_path, "run", "run.py").stdout

    # Built again, each layer has the same files.
    images = [ok(tmp_path, "build", "--no-cache", "run.py").stdout for _ in range(2)]
    assert images[0] == images[1]


@pytest.mark.parametrize("over", ["file", "http"])
def test_a_tampered_package_is_refused(over: str, channel: Path, address: str, base_lock: str, tmp_path: Path) -> None:
    text = _environment(channel.as_uri() if over == "file" else address, "hello", "stub")
    write(tmp_path, {"ocicaliban.toml": CONFIG, "ocicaliban.lock": base_lock, "environment.yml": text, "run.py": SHOW})
    ok(tmp_path, "run", "run.py")
    lock = (tmp_path / "ocicaliban.lock").read_text()
    assert "[conda.cpu]" in lock
    evil = python_module("hello", "raise SystemExit('evil')\n", version="2.1")
    make_channel(channel, [evil])
    # A cache of its own, in which the package is not yet.
    cache = {"XDG_CACHE_HOME": str(channel.parent / ".cache")}
    done = call(tmp_path, "build", "--no-cache", "run.py", env=cache)
    assert done.returncode == 1 and "this conda package is not the one that was locked" in done.stderr
    assert "hello-2.1-py_0.tar.bz2" in done.stderr and (tmp_path / "ocicaliban.lock").read_text() == lock


def test_without_python_in_it_the_bases_is_used(channel: Path, base_lock: str, tmp_path: Path) -> None:
    show = (
        "import subprocess, sys, six\nprint(sys.prefix, subprocess.run('stub', capture_output=True, text=True).stdout)"
    )
    text = _environment(channel.as_uri(), "stub")
    write(tmp_path, {"ocicaliban.toml": CONFIG, "ocicaliban.lock": base_lock, "env.yml": text, "run.py": show})
    assert ok(tmp_path, "run", "run.py").stdout.split() == ["/opt/venv", "/opt/conda/share"]


def test_a_notebook_runs_in_the_environment(channel: Path, base_lock: str, tmp_path: Path) -> None:
    text = _environment(channel.as_uri(), "python", "hello", "stub")
    write(tmp_path, {"ocicaliban.toml": CONFIG, "ocicaliban.lock": base_lock, "environment.yml": text})
    started = ok(tmp_path, "notebook", "--detach", "--bare", "--nogpu")
    try:
        assert "http://" in started.stdout
    finally:
        ok(tmp_path, "notebook", "--stop", "all")


@pytest.mark.parametrize("file", ["environment.yml", "pixi.toml"])
def test_without_a_channel_the_error_is_one_line_with_a_remedy(file: str, base_lock: str, tmp_path: Path) -> None:
    texts = {
        "environment.yml": _environment("http://127.0.0.1:9/nowhere", "python"),
        "pixi.toml": '[workspace]\nchannels = ["http://127.0.0.1:9/nowhere"]\n[dependencies]\npython = "*"\n',
    }
    write(tmp_path, {"ocicaliban.toml": CONFIG, "ocicaliban.lock": base_lock, file: texts[file], "run.py": SHOW})
    done = call(tmp_path, "run", "run.py")
    first, second, *_ = (line for line in done.stderr.splitlines() if line.startswith(("error:", " hint:")))
    assert first.startswith(f"error: {file}: the conda channel http://127.0.0.1:9/nowhere cannot be read: ")
    assert done.returncode == 1 and "CONDA_CHANNEL_ALIAS" in second and "Traceback" not in done.stderr
