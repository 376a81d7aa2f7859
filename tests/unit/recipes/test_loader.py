"""What people write by hand: every fault is told with its file, line and key."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ocicaliban.errors import UsageError
from ocicaliban.formats.jsonc import line_of
from ocicaliban.recipes.loader import load_modes, load_project, load_recipe, place_of
from ocicaliban.reporter import Reporter

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
        ('[[steps]]\ndo = "run"\n', "layer.toml:2: a step that does 'run' needs 'script'"),
        ('[[steps]]\ndo = "copy"\ntree = "t"\n', "layer.toml:2: a step that does 'copy' needs 'to'"),
        ('[[steps]]\ndo = "configure"\nto = "/x"\n', "layer.toml:4: a step that does 'configure' takes no 'to'"),
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


def test_a_table_is_checked_the_second_time_as_the_first(tmp_path: Path) -> None:
    (tmp_path / "modes.toml").write_text('[modes]\nrun = ["base"]\n')
    load_modes(tmp_path / "modes.toml")
    assert fault(tmp_path, "ocicaliban.toml", "modes = 3\n") == (
        "ocicaliban.toml:1: expected a table, got a whole number in modes"
    )


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
    [
        ('{\n"apt_package": 1}', ":2: unknown key 'apt_package'"),
        ("[", ": not valid JSON"),
        ("[]", ": expected an object"),
        (b'{"base_image": "\xff"}', ": not UTF-8"),
    ],
)
def test_a_fault_in_calibans_configuration(tmp_path: Path, text: str | bytes, message: str) -> None:
    assert fault(tmp_path, ".calibanconfig.json", text).startswith(f".calibanconfig.json{message}")


@pytest.mark.parametrize("name", ["ocicaliban.toml", ".calibanconfig.json"])
def test_a_configuration_that_cannot_be_read(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("")
    (tmp_path / name).chmod(0)
    with pytest.raises(UsageError, match=f"{name}: cannot be read: Permission denied"):
        load_project(tmp_path)


def test_calibans_comments_are_left_out_of_strings_and_counted_as_lines(tmp_path: Path) -> None:
    path = tmp_path / ".calibanconfig.json"
    path.write_text('# it\'s "ours"\n{ "base_image": "r:5000/a#b//c", # "quoted\n// it\'s\n/* a\nb */ }\n')
    assert load_project(tmp_path).layers == {"base": {"image": "r:5000/a#b//c"}}
    path.write_text("# a\n/* b\nc */ {\n,}")
    with pytest.raises(UsageError, match=r"not valid JSON: .* line 4 column 1"):
        load_project(tmp_path)


@pytest.mark.parametrize(
    ("image", "value"),
    [
        ("null", None),
        ('"a-{}:1"', {"cpu": "a-cpu:1", "gpu": "a-gpu:1"}),
        ('{"cpu": null, "gpu": "b-{}"}', {"gpu": "b-gpu"}),
        ('"dlvm:pytorch-gpu"', "gcr.io/deeplearning-platform-release/pytorch-gpu"),
        (
            '"dlvm:tf2-{}-2.1"',
            {v: f"gcr.io/deeplearning-platform-release/tf2-{v}.2-1" for v in ("cpu", "gpu")},
        ),
    ],
)
def test_calibans_ways_to_name_a_base_image(tmp_path: Path, image: str, value: object) -> None:
    (tmp_path / ".calibanconfig.json").write_text(f'{{"base_image": {image}}}')
    assert load_project(tmp_path).layers == ({"base": {"image": value}} if value else {})


def test_every_other_key_that_caliban_knows_is_accepted_and_told(tmp_path: Path) -> None:
    (tmp_path / ".calibanconfig.json").write_text(
        '{"build_time_credentials": true, "julia_version": "1.5", "default_mode": "GPU",'
        ' "gcloud": {"project_id": "p", "cloud_key": "k"}, "mlflow_config": {}}'
    )
    said: list[str] = []
    assert load_project(tmp_path, Reporter(said.append)) == load_project(tmp_path)
    assert [line.split("'")[1] for line in said] == [
        "build_time_credentials", "julia_version", "default_mode", "gcloud", "mlflow_config",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "text", "keys", "place"),
    [
        ("ocicaliban.toml", "\n[layers.apt]\nx = 1\npackages = 2\n", ("layers", "apt", "packages"), ":4"),
        ("ocicaliban.toml", "[layers]\napt = { packages = 3 }\n", ("layers", "apt", "packages"), ":2"),
        ("ocicaliban.toml", "layers.apt.packages.tpu = 1\n", ("layers", "apt", "packages", "tpu"), ":1"),
        ("ocicaliban.toml", "extras = []\n", ("layers", "apt"), ""),
        (".calibanconfig.json", '{\n"apt_packages": 3}', ("layers", "apt", "packages"), ":2"),
        (".calibanconfig.json", "{}", ("layers", "own", "packages"), ""),
    ],
)
def test_the_place_of_a_setting(tmp_path: Path, name: str, text: str, keys: tuple[str, ...], place: str) -> None:
    (tmp_path / name).write_text(text)
    assert place_of(tmp_path, keys) == f"{tmp_path / name}{place}"


def test_an_unknown_key_gets_the_nearest_one(tmp_path: Path) -> None:
    for name, text, hint in (
        ("ocicaliban.toml", "extra = []\n", "did you mean 'extras'?"),
        ("layer.toml", RECIPE + '[[steps]]\ndo = "run"\nscrip = "a"\n', "did you mean 'script'?"),
        ("layer.toml", "sumary = 1\n", "did you mean 'summary'?"),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(UsageError) as caught:
            load_recipe(tmp_path, "project") if name == "layer.toml" else load_project(tmp_path)
        assert caught.value.hint == hint


def test_a_folder_without_configuration(tmp_path: Path) -> None:
    assert load_project(tmp_path).layers == {}


@pytest.mark.parametrize("name", ["script", "uv.toml", "ca.crt", "sub/file"])
def test_a_steps_file_cannot_hide_what_a_step_sees_anyway(name: str, tmp_path: Path) -> None:
    (tmp_path / "go.sh").write_text("")
    recipe = 'summary = "s"\n[[steps]]\ndo = "run"\nscript = "go.sh"\nfiles = { "NAME" = "x" }\n'
    (tmp_path / "layer.toml").write_text(recipe.replace("NAME", name))
    with pytest.raises(UsageError, match=r"layer\.toml:5: the file .* cannot be called so"):
        load_recipe(tmp_path, "project")


@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        ('do = "run"\nscript = "go.sh"\ntools = ["pip"]', "expected one of uv, got 'pip'"),
        ('do = "run"\nscript = "go.sh"\nenv = { "A B" = "1" }', "'A B' is no name for a variable"),
        ('do = "copy"\ntree = "${source_tree}"\nto = "app"', "'app' is not absolute"),
    ],
)
def test_a_step_that_cannot_work_is_refused(lines: str, fault: str, tmp_path: Path) -> None:
    (tmp_path / "go.sh").write_text("")
    (tmp_path / "layer.toml").write_text(f'summary = "s"\n[[steps]]\n{lines}\n')
    with pytest.raises(UsageError, match=re.escape(fault)):
        load_recipe(tmp_path, "project")
