"""A shell in the project's environment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from attrs import evolve

from ocicaliban.app import shell
from ocicaliban.app.requests import LaunchRequest
from ocicaliban.errors import UsageError

if TYPE_CHECKING:
    from tests.unit.app.conftest import World

SHELL = LaunchRequest(mode="shell", gpu_wanted=False)


def test_a_shell_lives_in_the_project(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SHELL", "/bin/zsh")
    world.exit_code = 4
    assert shell.run(SHELL, ["shell"], ("ls", "-l")) == 4
    [argv] = world.ran
    assert argv[-2:] == ("ls", "-l") and "zsh" in argv
    home = world.folder / "home"
    assert any(str(home) in word for word in argv)
    assert "running on the CPU" in capsys.readouterr().err
    assert shell.run(evolve(SHELL, shell="fish"), ["shell"], (), bare=True) == 4
    assert "fish" in world.ran[1] and not any(str(home) in word for word in world.ran[1])
    home.rmdir()
    shell.run(SHELL, ["shell"], ())
    assert "there is no home folder to mount" in capsys.readouterr().err


def test_files_that_no_job_sees_are_told(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.write({".gitignore": "notes*\n", **{f"notes{number}": "" for number in range(5)}})
    shell.run(SHELL, ["shell"], (), bare=True)
    told = capsys.readouterr().err
    assert "note: left out of the image, so that no job sees it: notes0, notes1, notes2 and 2 more" in told
    assert "(ocicaliban plan --diff shell run)" in told


def test_a_shell_starts_in_the_current_folder(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(world.project / "data")
    shell.run(SHELL, ["shell"], (), bare=True)
    [argv] = world.ran
    assert argv[argv.index("--workdir") + 1] == "/usr/app/data"
    assert f"{world.project}:/usr/app" in argv


def test_an_image_of_another_mode_starts_in_the_project(world: World) -> None:
    world.image("cd" * 32, "mine")
    shell.run(evolve(SHELL, image_id="mine"), ["shell"], ())
    assert "--workdir" in world.ran[0]
    with pytest.raises(UsageError, match="ksh"):
        shell.run(evolve(SHELL, shell="ksh"), ["shell"], ())
