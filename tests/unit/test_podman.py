"""podman's command line, and what a module's name starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocicaliban.errors import UsageError
from ocicaliban.model import Image, Launch
from ocicaliban.podman import entry_command, run_argv, words

IMAGE = Image(id="1d", digest="sha256:aa", key="k")
LAUNCH = Launch(
    command=("python3", "a.py"), env=(("A", "1"),), mounts=("/p:/usr/app",), ports=("80:80",), workdir="/usr/app"
)
HEAD = "podman run --rm --init --pull=never --name n --network host"
TAIL = "--env A=1 -v /p:/usr/app -p 80:80 --workdir /usr/app --memory 1g --entrypoint python3 1d a.py --lr 1"


@pytest.mark.parametrize(
    ("terminal", "flags"),
    [((True, True), "-i -t --env TERM"), ((False, False), "-i"), ((True, False), "-i"), ((False, True), "-i")],
)
def test_the_command_line(terminal: tuple[bool, bool], flags: str) -> None:
    argv = run_argv(IMAGE, LAUNCH, ("--lr", "1"), name="n", terminal=terminal, extra=("--memory", "1g"))
    assert " ".join(argv) == f"{HEAD} {flags} {TAIL}"


def test_without_a_command_and_with_another_entrypoint() -> None:
    both = (False, False)
    assert " ".join(run_argv(IMAGE, Launch(), ("x",), name="n", terminal=both)) == f"{HEAD} -i 1d x"
    argv = run_argv(IMAGE, Launch(command=("p",)), ("x",), name="n", terminal=both, entrypoint=("sh", "-c"))
    assert " ".join(argv) == f"{HEAD} -i --entrypoint sh 1d -c x"


def test_words() -> None:
    assert words("-v '/a b:/c' --rm") == ("-v", "/a b:/c", "--rm")


def test_what_a_module_starts(tmp_path: Path) -> None:
    for name in ("trainer/train.py", "pack/__main__.py", "src/deep/mod.py", "go.sh", "plain.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / "go.sh").chmod(0o755)
    assert entry_command(tmp_path, "") == ()
    assert entry_command(tmp_path, "trainer.train") == ("python3", "-m", "trainer.train")
    assert entry_command(tmp_path, "pack") == ("python3", "-m", "pack")
    assert entry_command(tmp_path, "deep.mod") == ("python3", "-m", "deep.mod")
    assert entry_command(tmp_path, "trainer/train.py") == ("python3", "trainer/train.py")
    assert entry_command(tmp_path, "go.sh") == ("./go.sh",)
    with pytest.raises(UsageError, match="neither a Python file nor executable"):
        entry_command(tmp_path, "plain.txt")
    for missing in ("trainer", "nothing", "no.py"):
        with pytest.raises(UsageError, match=f"no module or file '{missing}'"):
            entry_command(tmp_path, missing)
