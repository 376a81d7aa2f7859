from __future__ import annotations

from pathlib import Path

import pytest

from ocicaliban import replay
from ocicaliban.errors import UsageError
from ocicaliban.project import user_config


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    path = tmp_path / "ocicaliban" / "config.toml"
    path.parent.mkdir()
    return path


def test_without_a_file_the_defaults_count(file: Path) -> None:
    assert user_config.load_user_config() == user_config.UserConfig()


def test_a_run_is_not_replayed_when_the_file_appears(file: Path) -> None:
    with replay.recording() as found:
        user_config.load_user_config()
    assert str(file) in found.read


def test_folders_of_cdi_specs(file: Path) -> None:
    file.write_text('cdi_spec_dirs = ["/opt/cdi", "~/cdi"]\n')
    assert user_config.load_user_config() == user_config.UserConfig(cdi_spec_dirs=("/opt/cdi", "~/cdi"))


def test_the_historys_database_is_not_shown_with_its_password(file: Path) -> None:
    file.write_text('db_url = "postgresql://ada:hush@db/history"\n')
    read = user_config.load_user_config()
    assert read.db_url == "postgresql://ada:hush@db/history" and "hush" not in repr(read)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\ncdi_dirs = []\n", "2: unknown key 'cdi_dirs'"),
        ('cdi_spec_dirs = "/a"\n', "1: expected a list, got a string in cdi_spec_dirs"),
        ("cdi_spec_dirs = [1]\n", "1: expected a string, got a whole number in cdi_spec_dirs"),
        ("# mine\ncdi_spec_dirs = ['cdi']\n", "2: 'cdi' in cdi_spec_dirs is not an absolute path"),
        ("cdi_spec_dirs = \n", "1: not valid TOML"),
    ],
)
def test_a_fault_is_told_with_its_line(file: Path, text: str, message: str) -> None:
    file.write_text(text)
    with pytest.raises(UsageError) as caught:
        user_config.load_user_config()
    assert caught.value.message.startswith(f"{file}:{message}")
    assert caught.value.hint
