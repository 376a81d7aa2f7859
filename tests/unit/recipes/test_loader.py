"""Recipes and modes: every mistake is reported with file, line and key."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ocicaliban.errors import UsageError
from ocicaliban.recipes.loader import load_modes, load_recipe
from tests.folders import usage_error

RECIPE = 'summary = "s"\n'


def fault(folder: Path, text: str | bytes) -> UsageError:
    return usage_error(folder / "layer.toml", text, lambda: load_recipe(folder, "project"))


def fault_message(folder: Path, text: str | bytes) -> str:
    return fault(folder, text).message.removeprefix(f"{folder}/")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bogus = 1\n", "layer.toml:2: unknown key 'bogus'"),
        ('name = "x"\n', "layer.toml:2: unknown key 'name'"),
        ('[params.a]\ntype = "list"\nbogus = 1\n', "layer.toml:4: unknown key 'params.a.bogus'"),
        ("[params]\na = { bogus = 1 }\n", "layer.toml:3: unknown key 'params.a.bogus'"),
        ('[params.a]\nrequired = "false"\n', "layer.toml:3: expected true or false, got a string in params.a.required"),
        ("[params.a]\nsort = 1\n", "layer.toml:3: expected true or false, got a whole number in params.a.sort"),
        ('[params.a]\ntype = "lst"\n', "layer.toml:3: expected one of string, list, bool, int, got 'lst'"),
        ("[params.a]\ntype = []\n", "layer.toml:3: expected one of string, list, bool, int, got []"),
        ('[params."a.b"]\nsort = 3\n', "layer.toml:3: expected true or false"),
        ("[params.a]\ndefault = 1.5\n", "layer.toml:3: expected"),
        ('after = "x"\n', "layer.toml:2: expected a list, got a string in after"),
        ("after = [1]\n", "layer.toml:2: expected a string, got a whole number in after"),
        ("params = 3\n", "layer.toml:2: expected a table, got a whole number in params"),
        ("steps = 3\n", "layer.toml:2: expected a list, got a whole number in steps"),
        ("steps = [3]\n", "layer.toml:2: expected a table, got a whole number in steps"),
        ("launch = 3\n", "layer.toml:2: expected a table, got a whole number in launch"),
        ('[launch]\nmounts = "x"\n', "layer.toml:3: expected a list, got a string in launch.mounts"),
        ('[[steps]]\ndo = "run"\nbogus = 1\n', "layer.toml:4: unknown key 'steps.bogus'"),
        ('[[steps]]\ndo = "run"\n[[steps]]\ndo = "fly"\n', "layer.toml:5: expected one of run, copy, configure"),
        ('[[steps]]\ndo = "run"\nsecrets = 3\n', "layer.toml:4: expected a string or a list of strings"),
        ('[[steps]]\ndo = "run"\n[[steps]]\ndo = "run"\n[steps.env]\na = 1\n', "layer.toml:7: expected a string"),
        ('[[steps]]\ndo = "run"\n', "layer.toml:2: a 'run' step needs 'script'"),
        ('[[steps]]\ndo = "copy"\ntree = "t"\n', "layer.toml:2: a 'copy' step needs 'to'"),
        ('[[steps]]\ndo = "configure"\nto = "/x"\n', "layer.toml:4: a 'configure' step cannot have 'to'"),
        ('[[steps]]\ndo = "run"\nscript = "no.sh"\n', "layer.toml: there is no script 'no.sh' in the recipe's folder"),
        ("[launch\n", "layer.toml:2: not valid TOML"),
    ],
)
def test_a_fault_in_a_recipe(tmp_path: Path, text: str, message: str) -> None:
    assert fault_message(tmp_path, RECIPE + text).startswith(message)


def test_a_recipe_without_a_summary(tmp_path: Path) -> None:
    assert fault_message(tmp_path, "") == "layer.toml: key 'summary' is missing"


def test_a_script_outside_the_recipe_or_not_utf8(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    folder.mkdir()
    (tmp_path / "out.sh").write_text("")
    (folder / "bad.sh").write_bytes(b"\xff")
    step = RECIPE + '[[steps]]\ndo = "run"\nscript = "%s"\n'
    assert "there is no script" in fault_message(folder, step % "../out.sh")
    assert fault_message(folder, step % "bad.sh") == "bad.sh: not UTF-8"


def test_modes_know_no_other_key(tmp_path: Path) -> None:
    path = tmp_path / "modes.toml"
    path.write_text('[modes]\nrun = ["base"]\n')
    assert load_modes(path).modes == {"run": ("base",)}
    path.write_text("[mode]\n")
    with pytest.raises(UsageError, match=r"modes.toml:1: unknown key 'mode'"):
        load_modes(path)


@pytest.mark.parametrize("name", ["script", "uv.toml", "ca.crt", "sub/file"])
def test_a_steps_file_cannot_hide_what_a_step_sees_anyway(name: str, tmp_path: Path) -> None:
    (tmp_path / "go.sh").write_text("")
    recipe = 'summary = "s"\n[[steps]]\ndo = "run"\nscript = "go.sh"\nfiles = { "NAME" = "x" }\n'
    (tmp_path / "layer.toml").write_text(recipe.replace("NAME", name))
    with pytest.raises(UsageError, match=r"layer\.toml:5: a step cannot have a file"):
        load_recipe(tmp_path, "project")


@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        ('do = "run"\nscript = "go.sh"\ntools = ["pip"]', "expected one of uv, got 'pip'"),
        ('do = "run"\nscript = "go.sh"\nenv = { "A B" = "1" }', "'A B' is not a valid name of a variable"),
        ('do = "run"\nscript = "go.sh"\ncache = ["/.."]', "'/..' is not a folder of the container that can be kept"),
        ('do = "run"\nscript = "go.sh"\ncache = [".."]', "'..' is not a folder of the container that can be kept"),
        ('do = "run"\nscript = "go.sh"\ncache = ["/"]', "'/' is not a folder of the container that can be kept"),
        (
            'do = "run"\nscript = "go.sh"\ncache = ["/a/../.."]',
            "'/a/../..' is not a folder of the container that can be kept",
        ),
        ('do = "run"\nscript = "go.sh"\ncache = ["a/b"]', "'a/b' is not a folder of the container that can be kept"),
        (
            'do = "run"\nscript = "go.sh"\ncache = ["/a:/b"]',
            "'/a:/b' is not a folder of the container that can be kept",
        ),
        ('do = "copy"\ntree = "${source_tree}"\nto = "app"', "'app' is not an absolute path"),
    ],
)
def test_a_step_that_cannot_work_is_refused(lines: str, fault: str, tmp_path: Path) -> None:
    (tmp_path / "go.sh").write_text("")
    (tmp_path / "layer.toml").write_text(f'summary = "s"\n[[steps]]\n{lines}\n')
    with pytest.raises(UsageError, match=re.escape(fault)):
        load_recipe(tmp_path, "project")


def test_an_unknown_key_gets_the_nearest_one(tmp_path: Path) -> None:
    misspelt = RECIPE + '[[steps]]\ndo = "run"\nscrip = "a"\n'
    assert fault(tmp_path, misspelt).hint == "did you mean 'script'?"
    assert fault(tmp_path, "sumary = 1\n").hint == "did you mean 'summary'?"


def test_each_is_the_former_name_of_inputs(tmp_path: Path) -> None:
    (tmp_path / "layer.toml").write_text(RECIPE + 'each = "data"\n')
    assert load_recipe(tmp_path, "project").inputs == ("data",)
    (tmp_path / "layer.toml").write_text(RECIPE + 'inputs = "data"\n')
    assert load_recipe(tmp_path, "project").inputs == ("data",)
    (tmp_path / "layer.toml").write_text(RECIPE + 'inputs = ["data", "command"]\n')
    assert load_recipe(tmp_path, "project").inputs == ("data", "command")
    both = fault_message(tmp_path, RECIPE + 'inputs = "data"\neach = "data"\n')
    assert both.startswith("layer.toml:3: 'each' is the former name of 'inputs'")


@pytest.mark.parametrize("name", ["CAP_CHOWN", "chown", "--privileged", ""])
def test_capabilities_have_the_names_that_podman_shows(name: str, tmp_path: Path) -> None:
    launch = f'[launch]\ncapabilities = ["CHOWN", "{name}"]\n'
    assert f"'{name}' is not the name of a capability" in fault_message(tmp_path, RECIPE + launch)
