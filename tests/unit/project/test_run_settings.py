"""The tables `run`: what containers that run here get of the settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocicaliban.model.project import RunSettings
from ocicaliban.project.config import load_project, setting_place
from ocicaliban.project.root import locate
from ocicaliban.project.run_settings import merged
from tests.folders import usage_error


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("run = 3\n", ":1: 'run' must be a table"),
        ("[run]\nshm = 3\n", ":2: unknown key 'run.shm'"),
        ("[run.notebook]\nshm = 3\n", ":2: unknown key 'run.notebook.shm'"),
        ('[run]\nshm_size = "much"\n', ":2: 'much' is not a size"),
        ('[run]\nshm_size = "0"\n', ":2: '0' is not a size"),
        ('[run]\nworkdir = "src"\n', ":2: 'src' is not an absolute path"),
        ('[run]\nvolumes = ["data"]\n', ":2: 'data' is not of the form SOURCE:TARGET[:OPTIONS]"),
        ('[run]\nvolumes = "a:/b"\n', ":2: expected a list, got a string in run.volumes"),
        ("[run]\nenv = { A = 1 }\n", ":2: expected a string, got a whole number in run.env.A"),
        ('[run]\n[run.env]\n"A B" = "1"\n', ":2: 'A B' is not the name of a variable"),
        ('[run]\npass_env = ["A=1"]\n', ":2: 'A=1' is not the name of a variable"),
        ('[run]\npodman_args = "--cap-add x"\n', ":2: expected a list, got a string in run.podman_args"),
    ],
)
@pytest.mark.parametrize("pyproject", [False, True])
def test_a_mistake_is_told_with_its_line(tmp_path: Path, text: str, message: str, pyproject: bool) -> None:
    name = "pyproject.toml" if pyproject else "ocicaliban.toml"
    if pyproject:
        text = text.replace("run = 3", "[tool.ocicaliban]\nrun = 3").replace("[run", "[tool.ocicaliban.run")
        message = message.replace(":1:", ":2:") if "must be a table" in message else message
        message = message.replace(" in run.", " in tool.ocicaliban.run.")
        message = message.replace("key 'run.notebook", "key 'tool.ocicaliban.run.notebook")
    fault = usage_error(tmp_path / name, text, lambda: load_project(tmp_path))
    assert fault.message.startswith(f"{tmp_path}/{name}{message}") and fault.hint


def test_settings_are_per_mode_and_paths_are_those_of_the_project(tmp_path: Path) -> None:
    (tmp_path / "ocicaliban.toml").write_text(
        '[run]\nshm_size = "8g"\nvolumes = ["./data:/data:ro", "models:/models"]\nenv = { A = "1" }\n'
        '[run.notebook]\nworkdir = "/data"\ncaches = false\n'
    )
    table = load_project(tmp_path).run
    assert table.all_modes.volumes == (f"{tmp_path}/data:/data:ro", "models:/models")
    assert merged(table.of_mode("notebook")) == RunSettings(
        env={"A": "1"}, volumes=table.all_modes.volumes, shm_size="8g", workdir="/data", caches=False
    )
    assert merged(table.of_mode("run")).caches is None


def test_later_settings_take_precedence() -> None:
    user = RunSettings(
        env={"A": "1", "B": "1"}, pass_env=("C", "D"), volumes=("/a:/x", "/b:/y"), podman_args=("-t",), caches=False
    )
    project = RunSettings(env={"A": "2", "C": "3"}, pass_env=("B",), volumes=("/c:/x/",), podman_args=("-i",))
    assert merged([user, project]) == RunSettings(
        env={"A": "2", "C": "3"},
        pass_env=("D", "B"),
        volumes=("/b:/y", "/c:/x/"),
        podman_args=("-t", "-i"),
        caches=False,
    )


def test_the_settings_may_be_in_pyproject(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    file = tmp_path / "pyproject.toml"
    file.write_text('[project]\nname = "x"\n\n[tool.ocicaliban.layers.apt]\npackages = ["git"]\n')
    assert load_project(tmp_path).layers == {"apt": {"packages": ["git"]}}
    assert setting_place(tmp_path, ("layers", "apt", "packages")) == f"{file}:5"
    assert locate(tmp_path / "sub").root == tmp_path
    (tmp_path / "ocicaliban.toml").write_text("")
    with pytest.raises(Exception, match="both configure the project"):
        load_project(tmp_path)


def test_another_tools_words_about_us_are_no_settings(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "ocicaliban"\n[tool.x]\nocicaliban = 1\n')
    assert load_project(tmp_path).layers == {}
