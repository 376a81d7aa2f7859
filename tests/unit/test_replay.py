"""What planning read and asked of the world is on record, all of it: a change of any of it ends the replay."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import pytest

from ocicaliban import replay
from ocicaliban.build import planner
from ocicaliban.build.request import PlanRequest
from ocicaliban.containers import podman
from ocicaliban.gpu import selection
from ocicaliban.model.image import Base
from ocicaliban.project import lockfile
from ocicaliban.project.lockfile import Lock
from ocicaliban.system import files

BASE = Base(
    kind="registry", reference="example.org/base:1", digest=f"sha256:{'a' * 64}", python="3.11.2",
    platform="linux/amd64",
)  # fmt: skip
FILES = {
    "project/ocicaliban.toml": '[layers.base]\nimage = "example.org/base:1"\n[secrets]\nx = "sub/secret"\n',
    "project/run.py": "",
    "project/src/deep/er.py": "",
    "project/sub/secret": "",
    "project/.gitignore": "data\n",
    "project/data/v1/x": "1",
    "project/data/v2/x": "2",
    "project/layers/empty/readme": "no recipe yet",
    "config/ocicaliban/layers/base/readme": "no recipe yet",
    "config/containers/storage.conf": "",
    "outside/lib/m.py": "",
}
RECIPE = 'summary = "s"\n'


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose base is locked, and a home; we are an ordinary user in it."""
    for name in ("CACHE", "STATE", "CONFIG"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    project = tmp_path / "project"
    (project / "data/cur").symlink_to("v1")
    lockfile.write_lock(project, Lock().with_base("cpu", BASE))
    (tmp_path / "images.json").write_text('[{"id":"1d"}]')
    files.used("1d").parent.mkdir(parents=True)
    files.used("1d").touch()
    monkeypatch.chdir(project)
    monkeypatch.setattr(podman, "run", lambda argv, name, meanwhile: 7)
    return tmp_path


ARGV = ["run", "-d", "data/cur"]


def planned(module: str, mount: bool = False) -> planner.PlannedImage:
    gpus = selection.choose_gpus(None, None)
    request = PlanRequest(root=Path.cwd(), mode="run", module=module, gpus=gpus, dirs=("data/cur",), mount=mount)
    return planner.plan_project(request)


def remembered(world: Path, module: str, mount: bool = False) -> replay.Recording:
    """Plan a run and keep it, as `run` does, a while after the last change."""
    planned(module, mount)  # what it writes by itself the first time is written
    with replay.recording() as found:
        plan = planned(module, mount)
    found.began += 3_000_000_000
    run = replay.Replayable(
        argv=[*ARGV, module], script=(), command=("podman", "run", "--name", "ours-K0", "1d"), key="K0", image="1d",
        images=world / "images.json", job={"submission": {"project": "/p", "group": "p-runs"}},
    )  # fmt: skip
    replay.remember(run, found, read=map(str, plan.searched_paths), entries=plan.tree_paths())
    return found


def linked(path: Path, target: str) -> None:
    path.unlink()
    path.symlink_to(target)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


CHANGES: dict[str, Callable[[Path], object]] = {
    "a link in an ignored folder to somewhere else": lambda world: linked(world / "project/data/cur", "v2"),
    "a file of data": lambda world: write(world / "project/data/v1/x", "3"),
    "a recipe in a folder of the project that was there": lambda world: write(
        world / "project/layers/empty/layer.toml", RECIPE
    ),
    "a recipe in a folder of the user that was there": lambda world: write(
        world / "config/ocicaliban/layers/base/layer.toml", RECIPE
    ),
    "the module gone": lambda world: (world / "project/src/deep/er.py").unlink(),
    "the secret in another file": lambda world: (world / "project/sub/secret").rename(world / "project/sub/other"),
    "another lock": lambda world: lockfile.write_lock(world / "project", Lock()),
    "the configuration changed": lambda world: (world / "project/ocicaliban.toml").touch(),
    "the user's first configuration": lambda world: write(world / "config/ocicaliban/config.toml", ""),
    "a first .containerignore": lambda world: write(world / "project/.containerignore", ""),
    "the clone's first list": lambda world: write(world / "project/.git/info/exclude", "run.py"),
    "a declaration of dependencies": lambda world: write(world / "project/requirements.txt", "six"),
}


@pytest.mark.parametrize("mount", [False, True])
@pytest.mark.parametrize("change", CHANGES)
def test_no_change_of_what_planning_depends_on_is_missed(change: str, mount: bool, world: Path) -> None:
    module = "src/deep/er.py"
    remembered(world, module, mount)
    assert replay.attempt([*ARGV, module]) == 7
    CHANGES[change](world)
    assert replay.attempt([*ARGV, module]) is None


def test_what_planning_does_not_depend_on_may_change(world: Path) -> None:
    remembered(world, "run.py")
    write(world / "beside", "the project")
    write(world / "cache/ocicaliban/other", "")
    write(world / "project/data/v2/x", "3")
    assert replay.attempt([*ARGV, "run.py"]) == 7


def test_nothing_is_asked_about_a_path_that_is_not_on_record(world: Path) -> None:
    """By Python's own account of the calls of C functions, for what has no audit event."""
    unheard: list[str] = []
    own = {replay.__file__, "<frozen importlib._bootstrap_external>"}

    def heard(frame: FrameType, event: str, function: object) -> None:
        if event != "c_call" or frame.f_code.co_filename in own:
            return
        module, name = getattr(function, "__module__", ""), getattr(function, "__name__", "")
        if module == "posix" and name in {"stat", "lstat", "readlink", "access", "statvfs", "getxattr", "listxattr"}:
            unheard.append(f"{name} in {frame.f_code.co_filename}:{frame.f_lineno}")

    planned("run.py")
    before = sys.getprofile()
    with replay.recording() as found:
        sys.setprofile(heard)
        try:
            planned("run.py")
        finally:
            sys.setprofile(before)
    assert unheard == []
    asked = {path for path, _ in found.asked}
    project = world / "project"
    # The links on the way to a folder of data, a folder that may become a recipe, the module, a secret.
    for name in ("data/cur", "layers/empty/layer.toml", "run.py", "sub/secret"):
        assert str(project / name) in asked
    assert str(project) in found.read  # a first declaration may come
    assert os.stat is replay._stat
