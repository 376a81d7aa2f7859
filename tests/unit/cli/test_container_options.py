"""podman's options under their own names."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from ocicaliban.cli.container_options import podman_args
from ocicaliban.errors import UsageError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "data set").mkdir()
    (tmp_path / "vars").write_text("A=1\n")
    return tmp_path


def test_they_come_before_the_users_other_options(folder: Path) -> None:
    given = {
        "env": ["A=b c", "HOME", "X="],
        "env_file": ["vars"],
        "volume": ["./data set:/d:ro", "~/vars:/v", "cache:/c", "/tmp:/t", "/anonymous"],
        "publish": ["8080:80"],
        "shm_size": "1g",
        "workdir": "/w",
        "podman_args": "--cap-add 'X Y'",
    }
    assert shlex.split(podman_args(given)) == [
        *("--env-file", f"{folder}/vars", "--env", "A=b c", "--env", "HOME", "--env", "X="),
        *("--volume", f"{folder}/data set:/d:ro", "--volume", f"{folder}/vars:/v", "--volume", "cache:/c"),
        *("--volume", "/tmp:/t", "--volume", "/anonymous", "--publish", "8080:80", "--shm-size", "1g"),
        *("--workdir", "/w", "--cap-add", "X Y"),
    ]
    assert podman_args({"env": None, "podman_args": "x  y"}) == "x  y" and podman_args({}) == ""


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("env", ["=x"], "not of the form NAME=VALUE"),
        ("env", ["SURELY_NOT_SET"], "the variable is not set"),
        ("env_file", ["none"], "no such file"),
        ("volume", ["./none:/x"], "there is no ./none"),
        ("shm_size", "big", "not a size"),
        ("workdir", "src", "not an absolute path"),
    ],
)
def test_what_podman_would_ignore_or_refuse_is_told(folder: Path, name: str, value: object, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        podman_args({name: value})
