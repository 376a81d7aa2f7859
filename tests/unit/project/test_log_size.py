"""How large a log becomes, by the project's settings and the user's."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocicaliban.errors import UsageError
from ocicaliban.jobs import log_parts
from ocicaliban.project import config, log_size, user_config


@pytest.mark.parametrize(
    ("values", "size"),
    [
        ((), 1 << 30),
        (("", ""), log_parts.LIMIT),
        (("500m", "2g"), 500 << 20),
        (("", "2g"), 2 << 30),
        (("0", "2g"), 0),
        (("64K",), 64 << 10),
    ],
)
def test_the_first_setting_counts(values: tuple[str, ...], size: int) -> None:
    assert log_size.in_bytes(*values) == size


@pytest.mark.parametrize("value", ["1", "63k", "a lot", "-1", "1t", "1.5g", " 1g"])
def test_a_size_that_cannot_be_is_told_with_file_and_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "ocicaliban").mkdir()
    for file in (tmp_path / "ocicaliban.toml", tmp_path / "ocicaliban" / "config.toml"):
        file.write_text(f'# mine\nlog_size_max = "{value}"\n')
    for read in (lambda: config.load_project(tmp_path), user_config.load_user_config):
        with pytest.raises(UsageError, match=":2: log_size_max = ") as caught:
            read()
        assert caught.value.hint == 'log_size_max = "500m", or "0" for any'


def test_no_limit_is_larger_than_any_log() -> None:
    assert log_parts.conmon_limit(0) > 1 << 60
    assert log_parts.conmon_limit(1000) == 500
