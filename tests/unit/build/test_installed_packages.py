"""The files of each package are kept once, whatever environments it is in."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ocicaliban.build import built_wheels, changes, folder_store, installed_packages, mounted_folders
from ocicaliban.build.mounting import Folder, RunPart
from ocicaliban.build.steps import BuildContext
from ocicaliban.containers import image_store, workspace
from ocicaliban.dependencies import locked_requirements, uv
from ocicaliban.errors import OcicalibanError
from ocicaliban.model.image import Image, PlannedLayer, Run
from ocicaliban.reporter import SILENT
from ocicaliban.system import files
from tests.folders import write
from tests.unit.dependencies.test_installed_files import SITE, row

IMAGE = Image(id="1d" * 32, digest="", key="")
PYTHON = [3, 11, 2]


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[list[str]]]:
    """The names of the packages of each installation. Their files are as if uv had written them."""
    for name in ("CACHE", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    monkeypatch.setattr(mounted_folders, "mounted_now", frozenset)
    monkeypatch.setattr(uv, "version", lambda: "uv 1")
    calls: list[list[str]] = []

    def run_script(part: RunPart, parent: Image, mount: str, folder: Path, *_: object) -> None:
        [step] = part.layer.steps
        assert isinstance(step, Run)
        names = [locked_requirements.name(entry) for entry in locked_requirements.entries(dict(step.files)["list"])]
        calls.append(names)
        environment = Path(mount.partition(":")[0])
        files = {"pyvenv.cfg": "home", ".lock": ""}
        if "sysconfig" in step.script:
            files["python.json"] = json.dumps({"sites": [SITE], "python": PYTHON})
        for name in names:
            if name == "unknown":
                files["who"] = "knows"
            if name == "skipped":
                continue
            record = row(f"{name}.py", name) + row("shared.py", name) + f"{name}-1.dist-info/RECORD,,\n"
            files |= {f"{SITE}/{name}.py": name, f"{SITE}/shared.py": name, f"{SITE}/{name}-1.dist-info/RECORD": record}
            files[f"{SITE}/__pycache__/{name}.cpython-311.pyc"] = "code"
        write(environment, files)
        if not (environment / "python").is_symlink():
            (environment / "python").symlink_to("/usr/bin/python3")

    monkeypatch.setattr(changes, "run_script", run_script)
    yield calls
    left = [path for path in folder_store.package_of("x").parent.glob(".*")]
    assert left == []


def part(*names: str, settings: str = "", within: str = "/opt/venv", script: str = "install") -> RunPart:
    text = "".join(f"{name}\n" if " " in name else f"{name}==1 \\\n    --hash=sha256:{name}\n" for name in names)
    step = Run(script=script, files=(("list", text),), within=within, singly="list", uv_settings=settings)
    return RunPart(layer=PlannedLayer(name="python", steps=(step,), key=f"{hash(text):x}"), within=within)


def made(run: RunPart, image: Image = IMAGE, *, again: bool = False) -> tuple[Path, ...] | None:
    return installed_packages.make(run, lambda: image, BuildContext(trees={}), SILENT, again=again)


def environment(*names: str) -> Path:
    found = made(part(*names))
    assert found
    return folder_store.make(Folder(target="/opt/venv", parts=(("", f"{hash(names):x}"),)), lambda *_: found)


def test_a_package_is_installed_once(installed: list[list[str]]) -> None:
    one, other = environment("a"), environment("b", "a")
    assert installed == [[], ["a"], ["b"]]
    assert (one / SITE / "a.py").samefile(other / SITE / "a.py")
    assert (other / SITE / "__pycache__/b.cpython-311.pyc").read_text() == "code"
    assert (other / "pyvenv.cfg").read_text() == "home"
    # The later one in the list has its way, and not the one that happened to be installed later.
    assert (other / SITE / "shared.py").read_text() == "a"


def test_packages_that_replace_each_others_files_are_installed_singly(installed: list[list[str]]) -> None:
    folder = environment("a", "b", "c")
    assert installed == [[], ["a", "b", "c"], ["a"], ["b"]]
    assert (folder / SITE / "shared.py").read_text() == "c"
    assert (environment("c", "a") / SITE / "shared.py").read_text() == "a"
    assert len(installed) == 4


def test_what_is_built_belongs_to_the_image_it_was_built_in(installed: list[list[str]]) -> None:
    write(built_wheels.uv_cache(), {f"ocicaliban/{IMAGE.id}/sdists-v9/pypi/A/1/x/A-1-py3-none-any.whl": ""})
    made(part("a"))
    made(part("a"))
    assert installed == [[], ["a"]]
    made(part("a"), Image(id="2d" * 32, digest="", key=""))
    assert installed[2:] == [[], ["a"]]


def test_a_wheel_is_for_all_images_with_the_same_python(
    installed: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    made(part("a"))
    made(part("a"), Image(id="2d" * 32, digest="", key=""))
    assert installed == [[], ["a"], []]
    monkeypatch.setattr(uv, "version", lambda: "uv 2")
    made(part("a"))
    made(part("a", settings="no-binary-package = ['a']"))
    made(part("a", script="another"))
    assert installed[3:] == [["a"], ["a"], [], ["a"]]
    made(part("a"), again=True)
    assert installed[7:] == [[], ["a"]]


@pytest.mark.parametrize(
    "run",
    [
        part("a", settings="no-build-isolation = true"),
        part("unknown"),
        part("a", "skipped"),
        part("./a.whl "),
        part("a", within=""),
    ],
    ids=["build sees others", "file of nobody", "not installed", "path", "no folder"],
)
def test_packages_that_cannot_be_told_apart(run: RunPart) -> None:
    assert made(run) is None


def test_a_package_for_another_environment_has_no_files() -> None:
    found = made(part("a", "skipped==1 ; sys_platform == 'win32'"))
    assert found and [os.listdir(path) for path in found[2:]] == [[]]


def test_clean_removes_packages_that_no_folder_has(installed: list[list[str]]) -> None:
    kept, gone = environment("a"), environment("b")
    old = 1e9
    for path in (*kept.parent.iterdir(), *folder_store.package_of("x").parent.iterdir()):
        os.utime(files.used(path.name), (old, old)) if image_store.last_used(path.name) else None
    lines: list[str] = []
    mounted_folders.remove(lambda key: key == kept.name, dry_run=True, out=lines.append)
    assert len(lines) == 2
    mounted_folders.remove(lambda key: key == kept.name, dry_run=False, out=lambda _: None)
    assert not gone.exists()
    assert environment("a") == kept and installed == [[], ["a"], ["b"]]
    made(part("b"))
    assert installed[3:] == [["b"]]
    shutil.rmtree(kept)
    mounted_folders.remove(lambda _: False, dry_run=False, out=lambda _: None)


def test_what_another_process_has_made_meanwhile_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, installed: list[list[str]]
) -> None:
    found = made(part("a"))
    assert found
    before = [(path / "x").touch() or path for path in found]
    kept, is_dir = {path.parent for path in found}, Path.is_dir
    # They are there as soon as this process has made them too.
    monkeypatch.setattr(Path, "is_dir", lambda path: is_dir(path) and (path not in kept or len(installed) == 4))
    made(part("a"))
    assert len(installed) == 4 and all((path / "x").exists() for path in before)


def test_what_a_killed_process_left_is_no_obstacle(installed: list[list[str]]) -> None:
    run = part("a", "b")
    for name in ("environment", "2.a"):
        write(folder_store.package_of(f".{run.key}.{name}") / "environment", {"x": ""})
    assert made(run) and installed == [[], ["a", "b"], ["a"]]


def test_a_package_that_vanishes_is_not_left_out(monkeypatch: pytest.MonkeyPatch, installed: list[list[str]]) -> None:
    [_, kept] = made(part("a")) or ()
    run = changes.run_script

    def cleaned(*args: Any) -> None:
        assert image_store.last_used(kept.parent.name) > 1e9, "`clean` leaves what is used"
        shutil.rmtree(kept.parent)
        run(*args)

    os.utime(files.used(kept.parent.name), (1e9, 1e9))
    monkeypatch.setattr(changes, "run_script", cleaned)
    with pytest.raises(OcicalibanError, match="the package a vanished while it was used"):
        made(part("a", "b"))
    monkeypatch.setattr(changes, "run_script", run)
    assert len(made(part("a", "b")) or ()) == 3 and installed == [[], ["a"], ["b"], ["a"]]


def test_clean_goes_on_when_files_vanish_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    [_, kept] = made(part("a")) or ()
    os.utime(files.used(kept.parent.name), (1e9, 1e9))
    walk = os.walk

    def with_another(top: Path) -> Iterator[tuple[str, list[str], list[str]]]:
        for place, folders, names in walk(top):
            yield place, folders, ["gone", *names]

    monkeypatch.setattr(os, "walk", with_another)
    lines: list[str] = []
    assert mounted_folders.remove(lambda _: False, dry_run=True, out=lines.append) and len(lines) == 1


def test_a_failed_installation_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(part: RunPart, parent: Image, mount: str, *_: object) -> None:
        write(Path(mount.partition(":")[0]), {"x": ""})
        raise KeyboardInterrupt

    monkeypatch.setattr(changes, "run_script", fails)
    with pytest.raises(KeyboardInterrupt):
        made(part("a"))
    workspace.remove_leftovers()
