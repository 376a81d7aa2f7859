"""Caliban's configuration, with its comments and its ways to name an image."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocicaliban.errors import UsageError
from ocicaliban.project.config import load_project, setting_place
from ocicaliban.reporter import Reporter
from tests.folders import usage_error


def fault(folder: Path, text: str | bytes) -> UsageError:
    return usage_error(folder / ".calibanconfig.json", text, lambda: load_project(folder))


def fault_message(folder: Path, text: str | bytes) -> str:
    return fault(folder, text).message.removeprefix(f"{folder}/")


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
    assert fault_message(tmp_path, text).startswith(f".calibanconfig.json{message}")


def test_an_unknown_key_has_a_remedy(tmp_path: Path) -> None:
    (tmp_path / ".calibanconfig.json").write_text('{"apt_package": []}')
    with pytest.raises(UsageError) as raised:
        load_project(tmp_path)
    assert raised.value.hint == "did you mean 'apt_packages'? Otherwise remove the key."


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


def test_it_adds_to_an_ocicaliban_toml(tmp_path: Path) -> None:
    (tmp_path / ".calibanconfig.json").write_text('{\n"apt_packages": ["git"],\n"base_image": "a"}')
    (tmp_path / "ocicaliban.toml").write_text('extras = ["plot"]\n[layers.python]\nextras = ["x"]\n')
    project = load_project(tmp_path)
    assert project.extras == ("plot",)
    assert project.layers == {
        "python": {"extras": ["x"]}, "apt": {"packages": ["git"]}, "base": {"image": "a"}
    }  # fmt: skip
    assert setting_place(tmp_path, ("layers", "apt", "packages")) == f"{tmp_path}/.calibanconfig.json:2"
    assert setting_place(tmp_path, ("layers", "python", "extras")) == f"{tmp_path}/ocicaliban.toml:3"


@pytest.mark.parametrize(
    ("theirs", "ours", "what"),
    [
        ('"apt_packages": ["git"]', '[layers.apt]\npackages = ["zip"]\n', "packages of the recipe 'apt'"),
        ('"base_image": "a"', '[layers.base]\nimage = "b"\n', "image of the recipe 'base'"),
        ('"base_image": "a"', '[layers.base]\nbootstrap = "debian:trixie"\n', "image of the recipe 'base'"),
    ],
)
def test_a_parameter_that_both_files_set_is_refused_with_both_places(
    tmp_path: Path, theirs: str, ours: str, what: str
) -> None:
    (tmp_path / ".calibanconfig.json").write_text(f"{{\n{theirs}}}")
    (tmp_path / "ocicaliban.toml").write_text(ours)
    with pytest.raises(UsageError) as caught:
        load_project(tmp_path)
    assert caught.value.message == f"{tmp_path}/ocicaliban.toml:2 and {tmp_path}/.calibanconfig.json:2 both set {what}"
