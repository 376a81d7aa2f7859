"""The script of the recipe `papermill`: the parameters of a notebook, and its kernel."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

from ocicaliban.recipes import catalog

SCRIPT = runpy.run_path(str(catalog.builtin_layers() / "papermill" / "notebook.py"))


@pytest.mark.parametrize(
    ("words", "given"),
    [
        ("", {}),
        ("-p lr 0.1 -p n 3 -p name bob", {"lr": 0.1, "n": 3, "name": "bob"}),
        ("-r n 3", {"n": "3"}),
        ("lr=1e-3 on=True off=false none=None", {"lr": 0.001, "on": True, "off": False, "none": None}),
        ("layers=[64,64] url=a=b", {"layers": [64, 64], "url": "a=b"}),
        ("--lr 0.1 --flag --name=x", {"lr": 0.1, "flag": True, "name": "x"}),
        ("--shift -1e-05 --shift2=-v2 --last", {"shift": -1e-05, "shift2": "-v2", "last": True}),
        ("--weight-decay 1", {"weight_decay": 1}),
        ("-p lr 0.1 lr=0.2", {"lr": 0.2}),
        ("name='x'", {"name": "'x'"}),
    ],
)
def test_parameters_are_written_in_one_of_three_ways(words: str, given: dict[str, Any]) -> None:
    assert SCRIPT["parameters"](words.split()) == given


@pytest.mark.parametrize("words", ["train", "-p lr", "-x 3"])
def test_other_words_are_no_parameters(words: str) -> None:
    with pytest.raises(ValueError):
        SCRIPT["parameters"](words.split())


@pytest.mark.parametrize(
    ("metadata", "kernel"),
    [
        ({}, ("python3", "python")),
        ({"kernelspec": {"name": "my-env", "language": "python"}}, ("python3", "python")),
        ({"kernelspec": {"name": "conda-x"}, "language_info": {"name": "python"}}, ("python3", "python")),
        ({"kernelspec": {"name": "ir", "language": "R"}}, ("ir", "R")),
        ({"kernelspec": None, "language_info": 1}, ("python3", "python")),
    ],
)
def test_a_notebook_of_python_runs_in_the_environment_whatever_its_kernel_was_called(
    metadata: dict[str, Any], kernel: tuple[str, str]
) -> None:
    assert SCRIPT["kernel"]({"metadata": metadata}) == kernel


@pytest.mark.parametrize(
    "text",
    [
        *("{", "[]", "1", "[" * 5000, "9" * 5000, '{"cells": 1}', '{"cells": ["x"]}'),
        '{"metadata": {"kernelspec": {"language": ["x"]}}}',
    ],
)
def test_a_file_that_is_no_notebook_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    (tmp_path / "x.ipynb").write_text(text)
    assert SCRIPT["main"]([str(tmp_path / "x.ipynb")]) == 2
    assert capsys.readouterr().err.startswith(f"{tmp_path}/x.ipynb: ")
    (tmp_path / "x.ipynb").write_text(json.dumps({}))
    assert SCRIPT["main"]([str(tmp_path / "x.ipynb"), "nonsense"]) == 2
    assert "'nonsense' is no parameter of a notebook" in capsys.readouterr().err


def test_the_parameters_of_a_sweep_are_in_a_variable_or_in_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OCICALIBAN_PARAMETERS", raising=False)
    monkeypatch.delenv("OCICALIBAN_PARAMETERS_FILE", raising=False)
    assert SCRIPT["of_sweep"]() == ""
    monkeypatch.setenv("OCICALIBAN_PARAMETERS", '{"lr": 1}')
    assert SCRIPT["of_sweep"]() == '{"lr": 1}'
    (tmp_path / "parameters.json").write_text('{"lr": 2}')
    monkeypatch.setenv("OCICALIBAN_PARAMETERS_FILE", str(tmp_path / "parameters.json"))
    assert SCRIPT["of_sweep"]() == '{"lr": 2}'
