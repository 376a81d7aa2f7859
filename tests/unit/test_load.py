"""What people write by hand: every fault is told with its file, line and key."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocicaliban.errors import UsageError
from ocicaliban.load import line_of, load_modes, load_project, load_recipe

RECIPE = 'summary = "s"\n'


def fault(folder: Path, name: str, text: str | bytes) -> str:
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UsageError) as caught:
        load_recipe(folder, "project") if name == "layer.toml" else load_project(folder)
    assert caught.value.exit_code == 2
    return caught.value.message.removeprefix(f"{folder}/")


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
        ('[[steps]]\ndo = "run"\nscript = "no.sh"\n', "layer.toml: the script no.sh does not lie beside it"),
        ("[launch\n", "layer.toml:2: not valid TOML"),
    ],
)
def test_a_fault_in_a_recipe(tmp_path: Path, text: str, message: str) -> None:
    assert fault(tmp_path, "layer.toml", RECIPE + text).startswith(message)


def test_a_recipe_without_a_summary(tmp_path: Path) -> None:
    assert fault(tmp_path, "layer.toml", "") == "layer.toml: key 'summary' is missing"


def test_a_script_outside_the_recipe_or_not_utf8(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    folder.mkdir()
    (tmp_path / "out.sh").write_text("")
    (folder / "bad.sh").write_bytes(b"\xff")
    step = RECIPE + '[[steps]]\ndo = "run"\nscript = "%s"\n'
    assert "does not lie beside it" in fault(folder, "layer.toml", step % "../out.sh")
    assert fault(folder, "layer.toml", step % "bad.sh") == "bad.sh: not UTF-8"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\nbogus = 1\n", "ocicaliban.toml:2: unknown key 'bogus'"),
        ('[modes]\na = "b"\n', "ocicaliban.toml:2: expected a list, got a string in modes.a"),
        ('[modes]\na = ["b", 1]\n', "ocicaliban.toml:2: expected a string, got a whole number in modes.a"),
        ('[modes.dev]\nlayers = ["base"]\n', "ocicaliban.toml:1: expected a list, got a table in modes.dev"),
        ('[modes]\n"a b" = 3\n', "ocicaliban.toml:2: expected a list, got a whole number in modes.a b"),
        ('extras = "a"\n', "ocicaliban.toml:1: expected a list, got a string in extras"),
        ('dirs = "false"\n', "ocicaliban.toml:1: expected a list"),
        ("secrets = { a = 1 }\n", "ocicaliban.toml:1: expected a string, got a whole number in secrets.a"),
        ("[layers]\napt = 3\n", "ocicaliban.toml:2: 'layers' holds one table for each recipe"),
        ("\n[[layers]]\n", "ocicaliban.toml:2: 'layers' holds one table for each recipe"),
        ('modes = ["a"]\n', "ocicaliban.toml:1: expected a table, got a list in modes"),
        ("a = 1\nx = \n", "ocicaliban.toml:2: not valid TOML"),
        (b"# \xff\n", "ocicaliban.toml: not UTF-8"),
    ],
)
def test_a_fault_in_a_project(tmp_path: Path, text: str | bytes, message: str) -> None:
    assert fault(tmp_path, "ocicaliban.toml", text).startswith(message)


def test_modes_know_no_other_key(tmp_path: Path) -> None:
    path = tmp_path / "modes.toml"
    path.write_text('[modes]\nrun = ["base"]\n')
    assert load_modes(path) == {"run": ("base",)}
    path.write_text("[mode]\n")
    with pytest.raises(UsageError, match=r"modes.toml:1: unknown key 'mode'"):
        load_modes(path)


def test_the_line_of_the_second_element() -> None:
    text = "[[steps]]\ncache = 1\n[[steps]]\ncache = 2\n"
    assert [line_of(text, ("steps", n, "cache")) for n in (0, 1)] == [2, 4]
    assert line_of(text, ("nothing",)) == 0


def test_calibans_configuration(tmp_path: Path) -> None:
    (tmp_path / ".calibanconfig.json").write_text(
        '{\n// ours\n"base_image": {"cpu": "a", "gpu": "b"}, /* old */ "project_id": "p",\n'
        '"apt_packages": {"cpu": ["git"], "gpu": ["nvtop"]},\n}'
    )
    assert load_project(tmp_path).layers == {
        "base": {"image": {"cpu": "a", "gpu": "b"}},
        "apt": {"packages": {"cpu": ["git"], "gpu": ["nvtop"]}},
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [('{"bogus": 1}', "unknown key 'bogus'"), ("[", "not valid JSON"), ("[]", "expected an object")],
)
def test_a_fault_in_calibans_configuration(tmp_path: Path, text: str, message: str) -> None:
    assert fault(tmp_path, ".calibanconfig.json", text).startswith(f".calibanconfig.json: {message}")


def test_a_folder_without_configuration(tmp_path: Path) -> None:
    assert load_project(tmp_path).layers == {}
