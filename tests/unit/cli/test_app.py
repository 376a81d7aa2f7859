"""The command line, as far as it goes without the tools."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ocicaliban.__main__ import main
from ocicaliban.build.inputs.registry import layer_words
from ocicaliban.cli import man_page
from ocicaliban.cli.app import application
from ocicaliban.model.project import Project
from ocicaliban.recipes import catalog, describe


def test_calibans_underscores_are_understood(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--nogpu", "--no_cache", "--dry_run", "--docker_run_args", "-v x:y", "--cloud_key", "k", "--image_id", ""]
    assert main(["run", *words, "-e", "jax", "--extras", "tf", "-d", "data", "--dir", "more"]) == 2
    assert "run needs a MODULE" in capsys.readouterr().err


def test_an_unknown_option_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--no-cahce", "a.py"]) == 2
    assert "--no-cache" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("run trainer.train --lr 0.1", "after --: ocicaliban run trainer.train -- --lr 0.1"),
        ("run --nogpu trainer.train foo --mount", "after --: ocicaliban run trainer.train -- foo"),
        ("run trainer.train --no-cahce", "no such option: --no-cahce (did you mean '--no-cache'?)"),
        (
            "run -e FOO=1 other.py",
            "error: -e FOO=1: -e names an extra of the project\n hint: for a variable in the container: --env FOO=1\n",
        ),
        ("shell -e FOO=$A -- ls", "--env 'FOO=$A'\n"),
        ("notebook --extras FOO=1", "--env FOO=1\n"),
        ("build -e FOO=1 x.py", " hint: an image has no variables of yours; set them when it runs: ocicaliban run "),
        ("plan -e FOO=1 run x.py", " hint: an image has no variables of yours"),
        ("cloud -e FOO=1 x.py", " hint: give the script an argument after --"),
        ("cloud --gpu trainer.train", "no such option: --gpu\n hint: did you mean '--gpu-spec'?"),
        ("run --no-cahce trainer.train", "no such option: --no-cahce\n hint: did you mean '--no-cache'?"),
        ("run trainer.train --weight_decay=0.1", "after --: ocicaliban run trainer.train -- --weight_decay=0.1"),
        (
            "run --lr 0.1 trainer.train",
            "no such option: --lr\n hint: the script's arguments go after --; `ocicaliban run --help`",
        ),
        ("shell python3", "hint: the command goes after --: ocicaliban shell -- python3"),
        ("build t.py -- --lr 1", "build runs no script"),
        ("rnu t.py", "error: no such command 'rnu'\n hint: did you mean 'run'?"),
        ("nothing", "error: no such command 'nothing'\n hint: ocicaliban --help"),
        ("--versoin", "error: no such option: --versoin\n hint: did you mean '--version'?"),
        ("status --grup a", "error: no such option: --grup\n hint: did you mean '--group'?"),
        ("status a b", "error: unexpected argument: b\n hint: ocicaliban status --help"),
        ("expand", "error: missing argument 'FILE|stdin'\n hint: ocicaliban expand --help"),
        ("logs --attempt abc", "error: invalid value for '--attempt': 'abc' is not a whole number\n hint: "),
        ("run --cpus many t.py", "is not a number\n hint: ocicaliban run --help"),
        ("layers shwo apt", "error: no such command 'shwo'"),
        ("run -- t.py", "run needs a MODULE"),
    ],
)
def test_what_belongs_to_the_script_goes_after_two_dashes(
    words: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words.split()) == 2
    assert told in capsys.readouterr().err


def test_help_and_completion_import_nothing_that_is_slow() -> None:
    slow = ("attrs", "cattrs", "podman", "rich", "peewee", "pathspec", "grpc", "google.auth", "sqlite3")
    code = (
        "import sys\nfrom ocicaliban.__main__ import main\n"
        # It starts podman where all of its processes were killed.
        "from ocicaliban.containers import user_namespace\nuser_namespace.revive = lambda: None\n"
        "for words in ('plan', 'run --help', 'shell --help', 'layers --help'):\n"
        f"    main(words.split())\n    loaded = [name for name in {slow!r} if name in sys.modules]\n"
        "    print('loaded by', words, loaded, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    told = [line for line in done.stderr.splitlines() if line.startswith("loaded by")]
    assert len(told) == 4 and all(line.endswith("[]") for line in told), told


def _help(*words: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main([*words, "-h"]) == 0
    return capsys.readouterr().out


def test_every_command_has_a_summary_of_one_line_and_short_options_for_help_and_quiet(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = _help(capsys=capsys).split("Commands:\n")[1].splitlines()
    assert len(lines) > 20 and all(line.endswith(".") and "..." not in line for line in lines)
    for command in [["run"], ["status"], ["layers", "show"], ["dev", "vertex-emulator"]]:
        told = _help(*command, capsys=capsys)
        assert "-h, --help" in told and "-q, --quiet" in told


def test_the_options_of_run_are_in_panels(capsys: pytest.CaptureFixture[str]) -> None:
    told = _help("run", capsys=capsys)
    titles = [line for line in told.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert titles == ["Arguments:", "Build:", "GPU:", "Sweep and jobs:", "Search:", "Container:", "Slurm:", "Options:"]
    rest = told.split("\nOptions:\n")[1]
    assert [line.split()[0] for line in rest.splitlines()] == ["--dry-run", "-q,", "errors.", "-h,"], "give it a panel"


REFERENCE = Path(__file__).parents[3] / "docs" / "reference"


def _is_current(name: str, text: str) -> None:
    if os.environ.get("OCICALIBAN_GOLDEN") == "1":
        (REFERENCE / name).write_text(text)
    assert (REFERENCE / name).read_text() == text, "run the tests with OCICALIBAN_GOLDEN=1"


def test_the_reference_of_the_commands_is_what_they_say_themselves() -> None:
    argv = [sys.executable, "-m", "typer", "ocicaliban.cli.reference", "utils", "docs", "--name", "ocicaliban"]
    _is_current("commands.md", subprocess.run(argv, capture_output=True, text=True, check=True).stdout.rstrip() + "\n")


def test_the_man_page_is_a_reference_of_the_commands() -> None:
    page = REFERENCE.parent / "man" / "ocicaliban.1"
    text = "".join(f"{line}\n" for line in man_page.lines(application()))
    if os.environ.get("OCICALIBAN_GOLDEN") == "1":
        page.write_text(text)
    assert page.read_text() == text, "run the tests with OCICALIBAN_GOLDEN=1"
    assert ".SS ocicaliban layers show [OPTIONS] {NAME}" in text and ".B \\-\\-podman\\-args" in text


def test_the_reference_of_the_recipes_is_what_layers_show_says() -> None:
    project = Project(root=Path("/nowhere"))
    modes = catalog.modes(project)
    out = ["# Recipes", "", "This is the output of `ocicaliban layers show NAME` for each built-in recipe."]
    for name, _, _ in catalog.names(project):
        used = [mode for mode, recipes in sorted(modes.items()) if name in recipes]
        recipe = catalog.find(project, name)
        lines = describe.recipe_lines(recipe, f"layers/{name}", used, layer_words(recipe))
        out += ["", f"## {name}", "", "```text", *lines, "```"]
    _is_current("recipes.md", "\n".join(out) + "\n")


def test_a_long_value_is_shown_by_its_beginning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ocicaliban.toml").write_text(f'[layers.base]\nbootstrap = "first {"x" * 200_000}"\n')
    monkeypatch.chdir(tmp_path)
    assert main(["plan", "run"]) == 2
    told = capsys.readouterr().err
    assert "ocicaliban.toml:2: layers.base.bootstrap: 'first xxx" in told and "xx' is not debian:SUITE\n" in told
    assert "characters ...]" in told and len(told) < 1500
