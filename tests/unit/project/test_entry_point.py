"""What a MODULE starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocicaliban.errors import UsageError
from ocicaliban.project.entry_point import entry_command, entry_files


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    sh = "#!/bin/sh"
    scripts = {"go.sh": f"{sh}\n", "bare": "echo\n", "windows": f"{sh}\r\n", "elf": "\x7fELF", "-dash": sh}
    modules = (
        "trainer/train.py",
        "pack/__main__.py",
        "src/deep/mod.py",
        "src/main/__main__.py",
        "UP.PY",
        "-x.py",
        "trainer/study.ipynb",
        "packages/nets/src/nets/fit.py",
    )
    for name in (*scripts, *modules, "plain.txt"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(scripts.get(name, "").encode())
        (root / name).chmod(0o755 if name in scripts else 0o644)
    (tmp_path / "outside.py").touch()
    (tmp_path / "way").symlink_to(root)
    return root


SRC = ("env", "PYTHONPATH=/usr/app/src:/usr/app", "python3", "-m")


@pytest.mark.parametrize(
    ("module", "command"),
    [
        ("", ()),
        ("trainer.train", ("python3", "-m", "trainer.train")),
        ("pack", ("python3", "-m", "pack")),
        ("pack/", ("python3", "pack")),
        ("deep.mod", (*SRC, "deep.mod")),
        ("main", (*SRC, "main")),
        ("src/deep/mod.py", ("python3", "src/deep/mod.py")),
        ("trainer/train.py", ("python3", "trainer/train.py")),
        ("./trainer/../trainer/train.py", ("python3", "trainer/train.py")),
        ("UP.PY", ("python3", "UP.PY")),
        ("trainer/study.ipynb", ("python3", "/opt/ocicaliban/notebook.py", "trainer/study.ipynb")),
        ("./-x.py", ("python3", "./-x.py")),
        ("-dash", ("./-dash",)),
        ("go.sh", ("./go.sh",)),
        ("elf", ("./elf",)),
    ],
)
def test_what_a_module_starts(project: Path, module: str, command: tuple[str, ...]) -> None:
    assert entry_command(project, module) == command


@pytest.mark.parametrize(
    ("folder", "module", "command", "files"),
    [
        ("trainer", "train.py", ("python3", "train.py"), "trainer/train.py"),
        ("trainer", "train", ("python3", "-m", "train"), "trainer/train.py"),
        ("trainer", "trainer.train", ("python3", "-m", "trainer.train"), "trainer/train.py"),
        ("trainer", "../go.sh", ("./../go.sh",), "go.sh"),
        ("src/deep", "../../UP.PY", ("python3", "../../UP.PY"), "UP.PY"),
        ("trainer", "deep.mod", ("PYTHONPATH=/usr/app/src:/usr/app", "python3", "-m", "deep.mod"), "src/deep/mod.py"),
        ("packages/nets", "nets.fit", ("PYTHONPATH=/usr/app/packages/nets/src:/usr/app", "python3", "-m", "nets.fit"),
         "packages/nets/src/nets/fit.py"),
        ("src", "main", ("python3", "-m", "main"), "src/main/__main__.py"),
        ("trainer", "../pack", ("python3", "../pack"), "pack/__main__.py"),
    ],
)  # fmt: skip
def test_what_a_module_starts_in_a_folder_of_the_project(
    project: Path, folder: str, module: str, command: tuple[str, ...], files: str
) -> None:
    found = entry_command(project, module, folder)
    assert found == ("env", f"--chdir=/usr/app/{folder}", *command)
    assert files in entry_files(found)
    assert files in entry_files(entry_command(project, str(project / files), folder)) or "main" in files


def test_a_path_may_lead_out_of_the_folder_but_not_out_of_the_project(project: Path) -> None:
    with pytest.raises(UsageError, match="outside the project"):
        entry_command(project, "../../outside.py", "trainer")
    with pytest.raises(UsageError) as caught:
        entry_command(project, "trian.py", "trainer")
    assert caught.value.hint == "did you mean 'train.py'?"


def test_an_absolute_path_in_the_project_also_by_way_of_a_link(project: Path) -> None:
    for root in (project, project.with_name("way")):
        assert entry_command(project, str(root / "trainer/train.py")) == ("python3", "trainer/train.py")


@pytest.mark.parametrize(
    ("module", "message", "hint"),
    [
        ("plain.txt", "neither a Python file nor executable", "chmod +x plain.txt"),
        ("bare", "no #! line", "#!/bin/sh"),
        ("windows", "Windows line endings", "dos2unix windows"),
        ("../outside.py", "outside the project", "copy it"),
        ("../project/../outside.py", "outside the project", "copy it"),
        ("/etc/passwd", "outside the project", "copy it"),
        ("trainer", "'trainer' is a folder without a __main__.py", "trainer/train.py"),
        ("trainer/", "'trainer/' is a folder without a __main__.py", "trainer/train.py"),
        (".", r"'\.' is a folder", "trainer/train.py"),
        ("trainer/trian.py", "no module or file 'trainer/trian.py'", "did you mean 'trainer/train.py'?"),
        ("trainer.trian", r"no module or file 'trainer\.trian'", "did you mean 'trainer.train'?"),
        ("trainer/train", "no module or file 'trainer/train'", "did you mean 'trainer/train.py'?"),
        ("trainer..train", "no module or file", "did you mean 'trainer.train'?"),
        (".trainer", "no module or file", "trainer"),
        ("nothing", "no module or file 'nothing'", "there are: "),
        ("x" * 300, "no module or file", "there are: "),
    ],
)
def test_what_cannot_be_started(project: Path, module: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        entry_command(project, module)
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("module", "hint"),
    [
        ("a/b/c/trian.py", "did you mean 'a/b/c/train.py'?"),
        ("a/b/c/train", "did you mean 'a/b/c/train.py'?"),
        ("trian.py", "did you mean 'a/b/c/train.py'?"),
        ("train", "did you mean 'a.b.c.train'?"),
        ("c.train", "did you mean 'a.b.c.train'?"),
        ("wheel", "there are: other, a.b.c.train"),
    ],
)
def test_a_module_is_suggested_at_any_depth_but_not_one_of_an_environment(
    tmp_path: Path, module: str, hint: str
) -> None:
    for name in ("a/b/c/train.py", "other.py", "own/pyvenv.cfg", "own/lib/wheel.py", ".tox/wheel.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(UsageError) as caught:
        entry_command(tmp_path, module)
    assert caught.value.hint == hint


def test_a_module_in_a_folder_without_any_code(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        entry_command(tmp_path, "train.py")
    assert caught.value.hint == "run the command in the project's folder"
