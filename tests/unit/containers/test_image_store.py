"""Where the image store is, by the files that say so."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ocicaliban.containers import image_store


def test_the_file_that_a_variable_names_says_where_the_store_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "own.conf"
    own.write_text("")
    monkeypatch.setenv("CONTAINERS_STORAGE_CONF", str(own))
    assert own in image_store.settings_files()
    before = image_store._conf_stamp()
    os.utime(own, (1, 1))
    assert image_store._conf_stamp() != before
