"""The package indexes that a project names."""

from __future__ import annotations

from pathlib import Path

from ocicaliban.dependencies.host_settings import HostSettings
from ocicaliban.dependencies.indexes import Indexes, project_indexes

NONE = HostSettings(ca_bundle=None, index_url="", extra_index_urls=(), find_links=())


def test_options_of_requirements_files(tmp_path: Path) -> None:
    texts = ["-i https://a/simple\nsix\n", "--extra-index-url=https://b/simple\n--find-links ./wheels\n# -f no\n"]
    found = project_indexes(tmp_path, texts)
    assert found.indexes == ("https://a/simple", "https://b/simple")
    assert found.find_links == (str(tmp_path / "wheels"),)


def test_tables_of_pyproject(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[[tool.uv.index]]\nname = "torch"\nurl = "https://t/cpu"\nexplicit = true\n'
        '[[tool.uv.index]]\nurl = "local"\n[tool.uv.pip]\nextra-index-url = ["https://e/simple"]\n'
    )
    found = project_indexes(tmp_path, ())
    assert found.indexes == ("torch=https://t/cpu", str(tmp_path / "local"), "https://e/simple")


def test_uv_toml_goes_before_pyproject(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.uv]\nindex-url = "https://no/simple"\n')
    (tmp_path / "uv.toml").write_text('index-url = "https://yes/simple"\n')
    assert project_indexes(tmp_path, ()).indexes == ("https://yes/simple",)


def test_no_files_no_indexes(tmp_path: Path) -> None:
    assert project_indexes(tmp_path, ()) == Indexes()


def test_the_hosts_settings_are_joined_once_each_with_the_hosts_passwords() -> None:
    environ = {"UV_INDEX_MINE_USERNAME": "me", "UV_INDEX_MINE_PASSWORD": "secret"}
    joined = NONE.with_indexes(Indexes(indexes=("mine=https://m/simple", "https://a"), find_links=("/w",)), environ)
    assert joined.extra_index_urls == ("mine=https://me:secret@m/simple", "https://a")
    assert joined.find_links == ("/w",)
    assert joined.with_indexes(Indexes(indexes=("https://a",)), environ) == joined
