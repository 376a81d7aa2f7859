"""What a shell offers for Tab."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, cast

import pytest
import typer
from attrs import evolve

from ocicaliban.__main__ import main
from ocicaliban.app import report
from ocicaliban.cli import completion
from ocicaliban.cli.completion import Completer
from ocicaliban.errors import OcicalibanError
from ocicaliban.execution import reconcile
from ocicaliban.history import access
from ocicaliban.model.job import Submission
from ocicaliban.targets import registry

if TYPE_CHECKING:
    from tests.unit.app.conftest import World


class _Context:
    params: Mapping[str, object] = MappingProxyType({})


def words(complete: Completer, incomplete: str = "") -> list[str]:
    return [word for word, _ in complete(cast(typer.Context, _Context()), incomplete)]


def test_groups_jobs_modes_recipes_and_scripts_are_offered(world: World, submission: Submission) -> None:
    world.submit(submission, ("--x", "1"), ("--x", "2"))
    assert words(completion.groups) == ["digits"] and words(completion.groups, "e") == []
    assert sorted(words(completion.jobs)) == ["1", "2", "last"]
    assert "digits" in words(completion.jobs_and_groups) and "2" in words(completion.jobs_and_groups)
    assert "notebook" in words(completion.modes, "no")
    assert {"apt", "python"} <= {*words(completion.recipes)}
    (world.project / "trainer").mkdir()
    for name in ("train.py", "trainer/eval.py", "trainer/__init__.py", "study.ipynb", "notes.txt", ".hidden.py"):
        (world.project / name).touch()
    (world.project / ".venv").mkdir()
    (world.project / ".venv" / "train.py").touch()
    assert {"train.py", "study.ipynb", "trainer/eval.py"} <= {*words(completion.scripts)}
    assert not {"notes.txt", ".venv/train.py", "trainer/__init__.py"} & {*words(completion.scripts)}
    assert words(completion.scripts, "trainer.") == ["trainer.eval"]


def test_columns_are_those_of_the_report(world: World, submission: Submission) -> None:
    world.submit(submission, ("--lr", "1"), ("--lr", "2"))
    found = words(completion.columns)
    assert "status" in found and words(completion.columns, "id,st") == ["id,status"]
    assert words(completion.columns, "-st") == ["-status"]


def test_columns_come_from_what_is_on_record_here(
    world: World, submission: Submission, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert words(completion.columns) == [] and words(completion.jobs) == ["last"] and not access.exists()

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("somebody is asked")

    world.submit(evolve(submission, host="other"), ("--lr", "1"))
    world.begin(1, out="/nowhere")
    for name in ("catch_up", "take_journal"):
        monkeypatch.setattr(reconcile, name, fail)
    monkeypatch.setattr(registry, "by_backend", fail)
    assert {"id", "lr"} <= {*words(completion.columns)}
    monkeypatch.setattr(report, "columns_on_record", fail)
    assert words(completion.columns) == []
    assert capsys.readouterr() == ("", "")


def test_few_files_are_walked_for_scripts(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(completion, "_ENTRIES", 5)
    world.write({f"data/{number}.py": "" for number in range(9)})
    assert 1 <= len(words(completion.scripts)) <= 5 and "train.py" in words(completion.scripts)


def test_a_fault_offers_nothing_and_says_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(**_: object) -> None:
        raise OcicalibanError("no history")

    monkeypatch.setattr(access, "open", fail)
    assert words(completion.groups) == []
    assert words(completion.jobs) == ["last"]
    (world.project / "ocicaliban.toml").write_text("x = ")
    assert words(completion.modes) == []
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        (
            {"_OCICALIBAN_COMPLETE": "complete_bash", "COMP_WORDS": "ocicaliban report di", "COMP_CWORD": "2"},
            "digits\n",
        ),
        ({"_OCICALIBAN_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": "ocicaliban report di"}, '"digits"'),
        (
            {
                "_OCICALIBAN_COMPLETE": "complete_fish",
                "_TYPER_COMPLETE_ARGS": "ocicaliban report di",
                "_TYPER_COMPLETE_FISH_ACTION": "get-args",
            },
            "digits\t",
        ),
    ],
)
def test_each_shell_gets_its_words(
    environ: dict[str, str],
    told: str,
    world: World,
    submission: Submission,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    world.submit(submission, ())
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert main([]) == 0
    assert told in capsys.readouterr().out
