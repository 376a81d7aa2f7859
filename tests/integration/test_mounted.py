"""Folders that containers mount here hold what the layers of other machines hold, and no job's files change."""

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.folders import write
from tests.integration.program import CONFIG, built, call, command, environment, ok, until
from tests.integration.test_packages import NETS

PYPROJECT = """
[project]
name = "study"
version = "0.1"
requires-python = ">=3.9"
dependencies = ["six", "wheel", "nets"]
[project.scripts]
study-train = "study:main"
[tool.uv.sources]
nets = { path = "libs/nets" }
[build-system]
requires = ["setuptools>=64"]
build-backend = "setuptools.build_meta"
"""
LOOK = """
import hashlib, os, sys

def content(path):
    if os.path.islink(path):
        return os.readlink(path)
    return hashlib.sha256(open(path, "rb").read()).hexdigest() if os.path.isfile(path) else ""

for top in ("/opt/venv", "/usr/app"):
    for place, folders, names in os.walk(top):
        for name in folders + names:
            path = os.path.join(place, name)
            found = os.lstat(path)
            when = "" if os.path.isdir(path) else found.st_mtime
            print(path, oct(found.st_mode), found.st_uid, found.st_gid, when, content(path))
print(sorted((name, value) for name, value in os.environ.items()
             if name not in ("HOSTNAME", "container", "MASTER_PORT") and not name.startswith("OCICALIBAN_")))
print(os.getcwd(), sys.prefix)
"""


@pytest.fixture
def cache() -> Iterator[dict[str, str]]:
    """The environment with a cache that can hold an overlay, which the root of a container cannot."""
    place = Path.home() / ".local/share/containers"
    place.mkdir(parents=True, exist_ok=True)
    uv = os.environ.get("UV_CACHE_DIR") or str(Path.home() / ".cache/uv")
    with tempfile.TemporaryDirectory(dir=place, prefix="cache-", ignore_cleanup_errors=True) as folder:
        yield {"XDG_CACHE_HOME": folder, "UV_CACHE_DIR": uv}


def test_what_is_mounted_is_what_would_be_stored(base_lock: str, tmp_path: Path, cache: dict[str, str]) -> None:
    write(
        tmp_path,
        {
            "ocicaliban.toml": CONFIG,
            "ocicaliban.lock": base_lock,
            "pyproject.toml": PYPROJECT,
            "src/study/__init__.py": "def main():\n    print('trained')\n",
            "libs/nets/pyproject.toml": NETS,
            "libs/nets/src/nets/__init__.py": "WIDTH = 8\n",
            "look.py": LOOK,
            "tool.sh": "#!/bin/sh\n",
            "big/x": "x" * 1_100_000,
            "data/x.csv": "1\n",
        },
    )
    (tmp_path / "tool.sh").chmod(0o750)
    (tmp_path / "link").symlink_to("tool.sh")
    here = ok(tmp_path, "run", "-d", "data", "look.py", env=cache)
    # Other projects have the same settings.
    assert {*built(here)} - {"settings"} == {"python", "project libs/nets", "project"}
    image = ok(tmp_path, "build", "--mode", "run", "-d", "data", "look.py").stdout.strip()
    there = ok(tmp_path, "run", "--image-id", image, "look.py")
    plain = ok(tmp_path, "run", "-d", "data", "look.py", env={**cache, "OCICALIBAN_MOUNTED": "0"})
    assert sorted(plain.stdout.splitlines()) == sorted(there.stdout.splitlines())
    mounted, stored = (sorted(done.stdout.splitlines()) for done in (here, there))
    assert mounted == stored
    paths = {line.split()[0] for line in mounted}
    assert {"/opt/venv/bin/study-train", "/usr/app/data/x.csv", "/usr/app/link", "/usr/app/big/x"} <= paths
    assert any(path.endswith(".pyc") and "/six" in path for path in paths)
    # An edit builds nothing, and what the script writes into its folder does not reach the project.
    write(tmp_path, {"look.py": "import six, sys; open('new', 'w'); print(six.__file__)"})
    edited = ok(tmp_path, "run", "-d", "data", "look.py", env=cache)
    assert edited.stdout.startswith("/opt/venv/")
    assert built(edited) == []
    assert not (tmp_path / "new").exists()
    plan = ok(tmp_path, "plan", "run", "-d", "data", "look.py", env={**cache, "OCICALIBAN_MOUNTED": ""})
    states = {line.split()[0]: line.split()[-1] for line in plan.stdout.splitlines()}
    assert states["project"] in ("mounted", "there"), "the build above has stored it, too"
    assert [path.name for path in Path(cache["XDG_CACHE_HOME"]).glob("ocicaliban/mounted/*/.*")] == []


def test_a_job_keeps_the_files_that_it_began_with(base_lock: str, tmp_path: Path) -> None:
    script = (
        "import pathlib, sys, time\n"
        "print(pathlib.Path('say.txt').read_text())\n"
        "pathlib.Path('/out/began').touch()\n"
        "while not pathlib.Path('/out/go').exists(): time.sleep(0.02)\n"
    )
    project, out = tmp_path / "project", tmp_path / "out"
    write(
        project,
        {
            "ocicaliban.toml": CONFIG,
            "ocicaliban.lock": base_lock,
            "say.txt": "before",
            "job.py": script,
            "sweep.json": json.dumps([{"n": 1}, {"n": 2}]),
        },
    )
    # A state of its own: earlier runs would take the first numbers.
    env = {"XDG_STATE_HOME": str(tmp_path / "state"), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    options = ("--group", "kept", "--jobs", "1", "--out", str(out), "--experiment-config", "sweep.json")
    with subprocess.Popen(
        command("run", *options, "job.py"),
        cwd=project, env=environment(env), text=True, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE,
    ) as sweep:  # fmt: skip
        try:
            first, second = (out / "kept" / number for number in "12")
            until((first / "began").exists, sweep)
            with (project / "say.txt").open("r+") as file:
                file.write("edited")
            (first / "go").touch()
            until((second / "began").exists, sweep)
        finally:
            sweep.kill()
            sweep.wait()
    # Neither the sweep's killed process nor `clean` takes the folder away, and `resume` runs what is left in it.
    assert "/mounted/folders/" not in ok(tmp_path, "clean", "--all", "--dry-run", env=env).stdout
    (second / "go").touch()
    ok(tmp_path, "resume", "kept", env=env)
    for number in "12":
        assert ok(tmp_path, "logs", number, env=env).stdout == "before\n"
    folders = tmp_path / "cache/ocicaliban/mounted/folders"
    assert len([*folders.iterdir()]) == 1
    # What is gone is told, with what helps.
    [path] = folders.iterdir()
    path.rename(tmp_path / "gone")
    failed = call(tmp_path, "resubmit", "--group", "kept", "--all-jobs", env=env)
    assert failed.returncode == 2 and "which its jobs mount, do not exist any more" in failed.stderr
    assert "--rebuild" in failed.stderr
