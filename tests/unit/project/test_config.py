"""A project's configuration: every mistake is reported with file, line and key."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocicaliban.errors import UsageError
from ocicaliban.project.config import load_project, setting_place
from ocicaliban.project.root import locate
from tests.folders import usage_error


def fault(folder: Path, text: str | bytes) -> UsageError:
    return usage_error(folder / "ocicaliban.toml", text, lambda: load_project(folder))


def fault_message(folder: Path, text: str | bytes) -> str:
    return fault(folder, text).message.removeprefix(f"{folder}/")


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
        ('[secrets]\n"../../.bashrc" = "a"\n', "ocicaliban.toml:2: '../../.bashrc' is not the name of a secret"),
        ('secrets = { "/etc/passwd" = "a" }\n', "ocicaliban.toml:1: '/etc/passwd' is not the name of a secret"),
        ("secrets = { a = 1 }\n", "ocicaliban.toml:1: expected a string, got a whole number in secrets.a"),
        ("[layers]\napt = 3\n", "ocicaliban.toml:2: 'layers' must hold one table for each recipe"),
        ("\n[[layers]]\n", "ocicaliban.toml:2: 'layers' must hold one table for each recipe"),
        ('modes = ["a"]\n', "ocicaliban.toml:1: expected a table, got a list in modes"),
        ("a = 1\nx = \n", "ocicaliban.toml:2: not valid TOML"),
        (b"# \xff\n", "ocicaliban.toml: not UTF-8"),
    ],
)
def test_a_fault_in_a_project(tmp_path: Path, text: str | bytes, message: str) -> None:
    assert fault_message(tmp_path, text).startswith(message)


@pytest.mark.parametrize("name", ["ocicaliban.toml", ".calibanconfig.json"])
def test_a_configuration_that_cannot_be_read(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("")
    (tmp_path / name).chmod(0)
    with pytest.raises(UsageError, match=f"{name}: cannot be read: Permission denied"):
        load_project(tmp_path)


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
    assert setting_place(tmp_path, keys) == f"{tmp_path / name}{place}"


def test_a_folder_without_configuration(tmp_path: Path) -> None:
    assert load_project(tmp_path).layers == {}


def test_an_unknown_key_gets_the_nearest_one(tmp_path: Path) -> None:
    assert fault(tmp_path, "extra = []\n").hint == "did you mean 'extras'?"


@pytest.mark.parametrize("name", ["ocicaliban.toml", ".calibanconfig.json"])
def test_a_configuration_that_is_a_link_to_no_file_is_an_error(tmp_path: Path, name: str) -> None:
    (tmp_path / name).symlink_to("gone")
    with pytest.raises(UsageError, match=rf"{name}: is a symbolic link to gone"):
        load_project(tmp_path)
    assert locate(tmp_path / "sub").root == tmp_path
