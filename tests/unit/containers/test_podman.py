"""podman's command line, and what a module's name starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocicaliban.containers.podman import bind, container_name, entry_command, run_argv, words
from ocicaliban.errors import UsageError
from ocicaliban.model.image import Image, Launch

IMAGE = Image(id="1d", digest="sha256:aa", key="k")
LAUNCH = Launch(
    command=("python3", "a.py"), env=(("A", "1"),), mounts=("/p:/usr/app",), ports=("80:80",), workdir="/usr/app"
)
HEAD = "podman run --rm --init --pull=never --name n --network host"
TAIL = "--env A=1 -v /p:/usr/app -p 80:80 --workdir /usr/app --memory 1g --entrypoint python3 1d a.py --lr 1"


@pytest.mark.parametrize(
    ("terminal", "flags"),
    [
        ((True, True), "-i -t --env TERM --env COLORTERM --env NO_COLOR "),
        ((True, False), "-i "),
        ((False, False), ""),
    ],
)
def test_the_command_line(terminal: tuple[bool, bool], flags: str) -> None:
    argv = run_argv(IMAGE, LAUNCH, ("--lr", "1"), name="n", terminal=terminal, extra=("--memory", "1g"))
    assert " ".join(argv) == f"{HEAD} {flags}{TAIL}"


def test_without_a_command_and_with_another_entrypoint() -> None:
    both = (True, False)
    assert " ".join(run_argv(IMAGE, Launch(), ("x",), name="n", terminal=both)) == f"{HEAD} -i 1d x"
    argv = run_argv(IMAGE, Launch(command=("p",)), ("x",), name="n", terminal=both, entrypoint=("sh", "-c"))
    assert " ".join(argv) == f"{HEAD} -i --entrypoint sh 1d -c x"


@pytest.mark.parametrize("given", [("--name", "mine"), ("--name=mine",), ("--name", "a", "--rm", "--name", "mine")])
def test_a_container_is_known_by_the_name_that_podman_is_given_last(given: tuple[str, ...]) -> None:
    assert container_name(given) == "mine"


@pytest.mark.parametrize(
    ("mount", "option"),
    [
        ("/a b:/usr/app", "-v /a b:/usr/app"),
        ("/a:/b:ro,z", "-v /a:/b:ro,z"),
        ("/a:b:/usr/app", "--mount type=bind,source=/a:b,target=/usr/app"),
        ('/a:"b",c:/usr/app', '--mount type=bind,"source=/a:""b"",c",target=/usr/app'),
        ("/a:b/c:/usr/app:ro", "--mount type=bind,source=/a:b/c,target=/usr/app,readonly"),
    ],
)
def test_a_mount_whose_source_has_a_colon_in_it(mount: str, option: str) -> None:
    assert " ".join(bind(mount)) == option


def test_words() -> None:
    assert words("-v '/a b:/c' --rm") == ("-v", "/a b:/c", "--rm")
    with pytest.raises(UsageError, match="--podman-args: no closing quotation") as caught:
        words("-v '/a b")
    assert caught.value.hint


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    sh = "#!/bin/sh"
    scripts = {"go.sh": f"{sh}\n", "bare": "echo\n", "windows": f"{sh}\r\n", "elf": "\x7fELF", "-dash": sh}
    modules = ("trainer/train.py", "pack/__main__.py", "src/deep/mod.py", "src/main/__main__.py", "UP.PY", "-x.py")
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
        ("./-x.py", ("python3", "./-x.py")),
        ("-dash", ("./-dash",)),
        ("go.sh", ("./go.sh",)),
        ("elf", ("./elf",)),
    ],
)
def test_what_a_module_starts(project: Path, module: str, command: tuple[str, ...]) -> None:
    assert entry_command(project, module) == command


def test_an_absolute_path_in_the_project_also_by_way_of_a_link(project: Path) -> None:
    for root in (project, project.with_name("way")):
        assert entry_command(project, str(root / "trainer/train.py")) == ("python3", "trainer/train.py")


@pytest.mark.parametrize(
    ("module", "message", "hint"),
    [
        ("plain.txt", "neither a Python file nor executable", "chmod +x plain.txt"),
        ("bare", "no #! line", "#!/bin/sh"),
        ("windows", "as on Windows", "dos2unix windows"),
        ("../outside.py", "outside of the project", "copy it"),
        ("../project/../outside.py", "outside of the project", "copy it"),
        ("/etc/passwd", "outside of the project", "copy it"),
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


def test_a_module_in_a_folder_without_any_code(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        entry_command(tmp_path, "train.py")
    assert caught.value.hint == "run it in the project's folder"
