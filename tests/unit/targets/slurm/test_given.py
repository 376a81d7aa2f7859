"""Variables, mounts and a folder that users give to jobs at Slurm, as options of podman."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocicaliban.errors import UsageError
from ocicaliban.targets.slurm import given
from ocicaliban.targets.slurm.given import Given

ENV = {"HERE": "now", "WANDB_KEY": "k", "WANDB_MODE": "m", "EMPTY": ""}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Given()),
        ("-e A=b --env=C=d -eE=f --env 'G=two words'", Given(env={"A": "b", "C": "d", "E": "f", "G": "two words"})),
        (
            "--env A= --env EMPTY --env HERE",
            Given(env={"A": "", "EMPTY": "", "HERE": "now"}, passed=frozenset({"EMPTY", "HERE"})),
        ),
        (
            "--env 'WANDB_*'",
            Given(env={"WANDB_KEY": "k", "WANDB_MODE": "m"}, passed=frozenset({"WANDB_KEY", "WANDB_MODE"})),
        ),
        ("--env HERE --env HERE=1", Given(env={"HERE": "1"})),
        ("--env HERE=1 --env HERE", Given(env={"HERE": "now"}, passed=frozenset({"HERE"}))),
        ("--env A=1 -e A=2", Given(env={"A": "2"})),
        ("-v /d:/data --volume=/e:/e:ro -v/f:/f:rw", Given(mounts=("/d:/data", "/e:/e:ro", "/f:/f"))),
        ("-v '/a b:c:/x:ro'", Given(mounts=("/a b:c:/x:ro",))),
        ("--mount type=bind,src=/d,dst=/data,readonly", Given(mounts=("/d:/data:ro",))),
        ("""--mount 'type=bind,"source=/a,b",target=/data,ro=false'""", Given(mounts=("/a,b:/data",))),
        ("-w /somewhere", Given(workdir="/somewhere")),
        ("--workdir=/a -w/b", Given(workdir="/b")),
    ],
)
def test_what_all_runtimes_can_do(text: str, expected: Given) -> None:
    assert given.read(text, ENV) == expected


@pytest.mark.parametrize(
    ("text", "words", "hint"),
    [
        ("--shm-size 8g", "no --shm-size", "/dev/shm"),
        ("-p 80:80", "no --publish", "network"),
        ("--privileged", "no --privileged", "recipe"),
        ("--rm", "no --rm", "recipe"),
        ("--device /dev/kvm", "no --device", "--gres"),
        ("-e", "--env has no value", "OMP"),
        ("-e =x", "not of the form", "OMP"),
        ("-e UNSET", "not set", "export UNSET"),
        ("-v data:/data", "'data' is no folder", "whole path"),
        ("-v /data", "not of the form", "/data"),
        ("-v /d:/data:U", "'U'", "ro"),
        ("-v /d:/out/", "results", "--out"),
        ("--mount type=tmpfs,target=/x", "folders only", "bind"),
        ("--mount type=bind,source=/x,target=x", "not an absolute path", ""),
        ("--mount type=bind,source=/x,target=/x,relabel=shared", "relabel", "ro"),
        ("-w sub", "not an absolute path", "/usr/app/sub"),
        ("--env-file /no/such", "No such file", "NAME=VALUE"),
        ("image", "no image", ""),
    ],
)
def test_what_not_all_can_do_is_told(text: str, words: str, hint: str) -> None:
    with pytest.raises(UsageError) as told:
        given.read(text, ENV)
    assert words in told.value.message and hint in told.value.hint


def test_a_file_of_variables(tmp_path: Path) -> None:
    path = tmp_path / "variables"
    path.write_text("# a comment\n\nA=b c\n  D=e=f\nHERE\nUNSET\nWANDB_M*\n")
    read = given.read(f"--env-file {path}", ENV)
    assert read.env == {"A": "b c", "D": "e=f", "HERE": "now", "WANDB_MODE": "m"}
    assert read.passed == read.env.keys()
    path.write_bytes(b"A=\xff")
    with pytest.raises(UsageError, match="UTF-8"):
        given.read(f"--env-file {path}", ENV)


def test_a_later_command_needs_no_values_for_mounts() -> None:
    assert given.read("--env UNSET --env-file /gone -v /d:/data", None) == Given(mounts=("/d:/data",))
