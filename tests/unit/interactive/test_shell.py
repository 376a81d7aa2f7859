"""Which shell starts, and what the container gets for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocicaliban.errors import UsageError
from ocicaliban.interactive import shell


@pytest.mark.parametrize(
    ("asked", "own", "chosen"),
    [
        ("", "/usr/bin/fish", "fish"),
        ("", "/bin/dash", "bash"),
        ("", "", "bash"),
        ("zsh", "/usr/bin/fish", "zsh"),
        ("/bin/zsh", "", "zsh"),
    ],
)
def test_the_users_own_shell_unless_another_is_asked_for(asked: str, own: str, chosen: str) -> None:
    assert shell.choose(asked, {"SHELL": own}) == chosen


def test_a_shell_that_is_not_known_is_refused_when_it_is_asked_for() -> None:
    with pytest.raises(UsageError, match="tcsh"):
        shell.choose("tcsh", {"SHELL": "/bin/zsh"})


def test_bash_needs_no_package() -> None:
    assert [shell.package(name) for name in shell.SHELLS] == ["", "zsh", "fish"]


@pytest.mark.parametrize("value", ["", "/", "relative", "/no/such/folder"])
def test_a_home_that_cannot_be_mounted_is_none(value: str) -> None:
    assert shell.home({"HOME": value}) is None
    assert shell.home({}) is None


def test_the_home_is_mounted_at_its_own_path(tmp_path: Path) -> None:
    words = shell.options("digits", Path("/files"), shell.home({"HOME": str(tmp_path)}), {})
    assert f"{tmp_path}:{tmp_path}" in words and f"HOME={tmp_path}" in words
    assert not any("HOME" in word for word in shell.options("digits", Path("/files"), None, {}))


def test_settings_elsewhere_in_the_home_are_found_and_those_outside_are_not_told(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path), "ZDOTDIR": f"{tmp_path}/zsh", "XDG_CONFIG_HOME": "/etc/mine", "XDG_DATA_HOME": ""}
    words = shell.options("digits", Path("/files"), tmp_path, environ)
    assert f"ZDOTDIR={tmp_path}/zsh" in words
    assert not any(word.startswith("XDG_") for word in words)


@pytest.mark.parametrize("name", ["$(reboot)", "a`b`", "%n \\w", "x'y\"z", ""])
def test_no_name_of_a_project_is_more_than_text_in_a_prompt(name: str) -> None:
    words = shell.options(name, Path("/files"), None, {})
    given = next(word for word in words if word.startswith("OCICALIBAN_PROJECT=")).removeprefix("OCICALIBAN_PROJECT=")
    assert given
    assert not set(given) & set("$`%\\'\" ()")


def test_the_locale_is_the_one_that_counts_on_the_host() -> None:
    environ = {"LANG": "C", "LC_ALL": "de_DE.UTF-8"}
    assert "OCICALIBAN_LOCALE=de_DE.UTF-8" in shell.options("digits", Path("/files"), None, environ)
