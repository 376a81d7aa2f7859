"""What a project is planned to be, read from its files; no tool is asked."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

import pytest

from ocicaliban.build import debian_resolution, planner
from ocicaliban.build.request import PlanRequest
from ocicaliban.errors import UsageError
from ocicaliban.model.image import Base, Run, TreeEntry
from ocicaliban.project import lockfile
from ocicaliban.project.lockfile import Lock, Resolution
from ocicaliban.reporter import SILENT, Reporter

BASE = Base(
    kind="registry", reference="example.org/base:1", digest=f"sha256:{'a' * 64}", python="3.11.2",
    platform="linux/amd64",
)  # fmt: skip
CONFIG = '[layers.base]\nimage = "example.org/base:1"\n'


@pytest.fixture(autouse=True)
def private_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("XDG_CACHE_HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))


def project(root: Path, files: dict[str, str], config: str = "") -> Path:
    """A project whose base is locked, so that planning it asks nobody."""
    for name, text in {"ocicaliban.toml": config + CONFIG, "run.py": "", **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    lockfile.write_lock(root, Lock().with_base("cpu", BASE))
    return root


def plan(root: Path, mode: str = "run", reporter: Reporter = SILENT, **options: Any) -> planner.PlannedImage:
    return planner.plan_project(PlanRequest(root=root, mode=mode, **options), reporter)


def entries(planned: planner.PlannedImage) -> list[TreeEntry]:
    return [entry for tree in planned.trees.values() for entry in tree.entries]


@pytest.mark.parametrize("dirs", [(), ("sub",)])
@pytest.mark.parametrize("named", ["sub/token", "folder/token", "name", "ROOT/folder/token", "sub/../name"])
def test_a_build_secret_enters_no_image_by_whatever_name(tmp_path: Path, named: str, dirs: tuple[str, ...]) -> None:
    secrets = f'secrets = {{ x = "{named.replace("ROOT", str(tmp_path / "p"))}" }}\n'
    root = project(tmp_path / "p", {"sub/token": "s", "sub/b": ""}, secrets)
    (root / "folder").symlink_to("sub")
    (root / "name").symlink_to("sub/token")
    planned = plan(root, "build", dirs=dirs)
    paths = [entry.path for entry in entries(planned)]
    assert "token" not in paths and "sub/token" not in paths
    assert planned.build_context.secrets["x"].read_text() == "s"


BUILD = "[build-system]\nrequires = []\nbuild-backend = 'setuptools.build_meta'\n"  # uv has nothing to resolve


@pytest.mark.parametrize(
    ("files", "config"),
    [
        ({}, ""),
        ({"src/study/__init__.py": ""}, "[tool.setuptools]\npackages = ['study']\n"),
        ({"requirements.txt": ""}, ""),
        ({"setup.cfg": "[metadata]\nname = study\n"}, "[tool.uv]\nindex-url = 'https://example.org/simple'\n"),
    ],
)
def test_a_file_in_toml_is_parsed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], config: str
) -> None:
    manifest = f"[project]\nname = 'study-{tmp_path.name}'\nversion = '1'\n{BUILD}{config}"
    root = project(tmp_path / "p", {"pyproject.toml": manifest, **files})
    parsed: list[str] = []
    real = tomllib.loads
    monkeypatch.setattr(tomllib, "loads", lambda text, **options: parsed.append(text) or real(text, **options))
    plan(root, module="run.py")
    assert parsed.count(manifest) == 1


def test_the_source_of_the_dependencies_is_told_and_what_is_not_read(tmp_path: Path) -> None:
    root = project(tmp_path / "p", {"requirements.txt": "", "requirements-dev.txt": "six\n"})
    said: list[str] = []
    planned = plan(root, module="run.py", reporter=Reporter(said.append))
    assert said == [
        "note: not read: requirements-dev.txt (to use requirements-dev.txt instead, "
        'write [layers.python] requirements = "requirements-dev.txt")',
        "dependencies: requirements.txt, 0 packages; Python 3.11",
    ]
    assert (planned.packages, planned.python) == (0, "3.11.2")


@pytest.mark.parametrize(
    ("config", "files", "packages"),
    [
        ("", {}, []),
        ("", {"apt.txt": "git\nffmpeg # for videos\n"}, ["ffmpeg git"]),
        ('[layers.apt]\npackages = ["git", "zip"]\n', {"binder/apt.txt": "git\nffmpeg\n"}, ["ffmpeg git zip"]),
        ("", {"cog.yaml": "build: {system_packages: [libgl1]}\n"}, ["libgl1"]),
    ],
)
def test_the_project_s_files_add_to_the_packages_of_the_recipe_apt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: str, files: dict[str, str], packages: list[str]
) -> None:
    nothing = Resolution(inputs="", requirements="")
    monkeypatch.setattr(debian_resolution, "resolve", lambda *_: nothing)
    layers = plan(project(tmp_path / "p", files, config), module="run.py").plan.layers
    steps = [step for layer in layers if layer.name == "apt" for step in layer.steps]
    assert [dict(step.env)["PACKAGES"] for step in steps if isinstance(step, Run)] == packages


def test_a_mode_without_a_recipe_for_debian_packages_that_a_file_asks_for_is_refused(tmp_path: Path) -> None:
    mode = '[modes]\nmine = ["base", "python", "source-copy", "command"]\n'
    root = project(tmp_path / "p", {"apt.txt": "git\n"}, mode)
    with pytest.raises(UsageError, match="the mode 'mine' has no recipe for Debian packages"):
        plan(root, "mine", module="run.py")


def test_without_contents_nothing_that_would_enter_an_image_is_read(tmp_path: Path) -> None:
    root = project(tmp_path / "p", {"requirements.txt": "no such thing!\n"})
    (root / "requirements.txt").chmod(0)
    os.mkfifo(root / "fifo")
    planned = plan(root, module="run.py", contents=False, resolve=False)
    assert planned.trees == {}
    assert planned.plan.launch.command == ("python3", "run.py")


@pytest.mark.parametrize("module", ["lreal/m.py", "lreal.m", "far/deep/m.py", "here.py"])
def test_a_module_behind_a_link_inside_the_project_is_in_the_image(tmp_path: Path, module: str) -> None:
    root = project(tmp_path / "p", {"real/m.py": "", "data/deep/m.py": "", ".gitignore": "data\nreal/out.py\n"})
    (root / "lreal").symlink_to("real")
    (root / "far").symlink_to("lreal/../data")
    (root / "here.py").symlink_to("lreal/m.py")
    plan(root, "build", module=module, dirs=("data",))
    (root / "real/out.py").touch()
    with pytest.raises(UsageError, match=r"leaves 'lreal/out\.py' out of the image") as caught:
        plan(root, "build", module="lreal/out.py", dirs=("data",))
    assert "in .gitignore," in caught.value.hint


def test_of_two_folders_with_the_same_files_both_are_watched(tmp_path: Path) -> None:
    root = project(tmp_path / "p", {"one/x": "same", "two/x": "same"})
    watched = set(plan(root, module="run.py", dirs=("one", "two")).tree_paths())
    assert {str(root / "one/x"), str(root / "two/x"), str(root / "run.py"), str(root)} <= watched


def test_a_heavy_folder_is_copied_by_a_layer_of_its_own_and_no_file_twice(tmp_path: Path) -> None:
    root = project(tmp_path / "p", {"big/x": "x" * 1_000_000, "small/x": "x"})
    planned = plan(root, module="run.py")
    assert [layer.name for layer in planned.plan.layers] == ["source-copy big", "source-copy"]
    paths = [entry.path for entry in entries(planned) if entry.kind == "file"]
    assert sorted(paths) == ["big/x", "ocicaliban.toml", "run.py", "small/x"]


def test_a_lock_that_another_command_is_just_writing_is_no_part_of_the_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = project(tmp_path / "p", {})
    before = plan(root, module="run.py").plan.key
    keys: list[str] = []

    real = os.replace

    def replace(half: Path, target: Path) -> None:
        if target.name == lockfile.NAME:
            keys.append(plan(root, module="run.py").plan.key)
        real(half, target)

    monkeypatch.setattr(os, "replace", replace)
    lockfile.write_lock(root, Lock())
    assert keys == [before]


COPY = """summary = "s"
after = ["base"]
{key}
[[steps]]
do = "copy"
tree = "${{source_tree}}"
to = "/mine"
"""
MODE = '[modes]\nown = ["base", "{name}"]\n'


@pytest.mark.parametrize(
    ("name", "key", "layers"),
    [
        ("mine", 'inputs = "source"', ["mine big", "mine"]),
        ("mine", 'each = "source"', ["mine big", "mine"]),
        ("source-copy", 'inputs = "source"', ["source-copy big", "source-copy"]),
        ("source-copy", "", ["source-copy"]),  # a copy of the built-in recipe, from before it named its inputs
    ],
)
def test_a_recipe_of_the_project_takes_the_source(tmp_path: Path, name: str, key: str, layers: list[str]) -> None:
    files = {"big/x": "x" * 1_000_000, f"layers/{name}/layer.toml": COPY.format(key=key)}
    root = project(tmp_path / "p", files, MODE.format(name=name))
    planned = plan(root, "own")
    assert [layer.name for layer in planned.plan.layers] == layers
    assert "run.py" in [entry.path for entry in entries(planned)]


def test_what_provides_the_source_is_replaced_by_what_mounts_it(tmp_path: Path) -> None:
    own = COPY.format(key='inputs = "source"\nprovides = "source"')
    root = project(tmp_path / "p", {"layers/mine/layer.toml": own}, MODE.format(name="mine"))
    planned = plan(root, "own", mount=True)
    assert [layer.name for layer in planned.plan.layers] == ["source-mount"]
    assert planned.mounts_project and not planned.trees


@pytest.mark.parametrize(("mode", "message"), [("own", "no recipe for the folder of data 'data'"), ("shell", "")])
def test_a_mode_without_data_takes_no_folder_unless_it_mounts_the_project(
    tmp_path: Path, mode: str, message: str
) -> None:
    root = project(tmp_path / "p", {"data/x": ""}, MODE.format(name="source-copy"))
    if message:
        with pytest.raises(UsageError, match=message):
            plan(root, mode, dirs=("data",))
    else:
        assert plan(root, mode, dirs=("data",)).mounts_project


def test_a_mode_needs_a_base(tmp_path: Path) -> None:
    root = project(tmp_path / "p", {}, '[modes]\nown = ["apt"]\n')
    with pytest.raises(UsageError, match="no recipe that provides the base image"):
        plan(root, "own")


def test_the_base_may_have_another_name_or_be_an_old_copy(tmp_path: Path) -> None:
    folder = Path(__file__).parents[3] / "layers/base"
    recipe = (folder / "layer.toml").read_text()
    old = recipe.replace('provides = "base"\ninputs = "interpreter"\n', "").partition("[[steps]]")[0]
    assert "interpreter" not in old
    root = project(tmp_path / "p", {"layers/base/layer.toml": old})
    assert plan(root).plan.base == BASE
    config = '[modes]\nown = ["ground"]\n[layers.ground]\nimage = "example.org/base:1"\n'
    scripts = {f"layers/ground/{path.name}": path.read_text() for path in folder.glob("*.sh")}
    root = project(tmp_path / "q", {"layers/ground/layer.toml": recipe, **scripts}, config)
    assert plan(root, "own").plan.base == BASE


def test_cuda_without_a_recipe_that_installs_it_is_refused(tmp_path: Path) -> None:
    config = '[modes]\nown = ["base", "cuda"]\n[layers.cuda]\nversion = "12.8"\n'
    root = project(tmp_path / "p", {}, config)
    with pytest.raises(UsageError, match=r"layers\.cuda\.version: the mode has no recipe that installs"):
        plan(root, "own", gpu_elsewhere=True)
    assert plan(root, "own").plan.layers == ()


@pytest.mark.parametrize(
    ("setting", "said", "hint"),
    [
        ('[layers.python]\nrequirements = "no.txt"', ":2: layers.python.requirements: there is no file 'no.txt'", ""),
        ('[layers.base]\npython = "x.y"', ":2: layers.base.python: 'x.y' does not name", 'python = "3.11"'),
    ],
)
def test_a_setting_that_cannot_be_is_told_with_file_and_line(
    tmp_path: Path, setting: str, said: str, hint: str
) -> None:
    root = project(tmp_path / "p", {})
    (root / "ocicaliban.toml").write_text(f"{setting}\n{CONFIG if 'base' not in setting else ''}")
    with pytest.raises(UsageError) as caught:
        plan(root)
    assert caught.value.message.startswith(f"{root}/ocicaliban.toml{said}")
    assert hint in caught.value.hint


def test_a_setting_of_the_command_line_has_no_line(tmp_path: Path) -> None:
    root = project(tmp_path / "p", {"yes.txt": ""}, '[layers.python]\nrequirements = "yes.txt"\n')
    with pytest.raises(UsageError) as caught:
        plan(root, settings={"python": {"requirements": "no.txt"}})
    assert caught.value.message.startswith("layers.python.requirements: there is no file 'no.txt'")
