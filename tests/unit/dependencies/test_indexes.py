"""The package indexes that a project names."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve

from ocicaliban.dependencies.host_settings import HostSettings
from ocicaliban.dependencies.indexes import (
    NO_INDEX,
    Indexes,
    matching,
    plain_url,
    project_indexes,
    with_options,
    without_credentials,
)
from ocicaliban.dependencies.pip_options import read_options

NONE = HostSettings(ca_bundle=None, index_url="", extra_index_urls=(), find_links=())


def test_options_of_requirements_files(tmp_path: Path) -> None:
    texts = {
        "requirements.txt": "-i https://a/simple\nsix\n",
        "more/b.txt": "--extra-index-url=https://b/simple\n--find-links ./wheels\n# -f no\n--trusted-host b\n",
    }
    (tmp_path / "more" / "wheels").mkdir(parents=True)
    found = with_options(Indexes(indexes=("https://c",)), read_options(texts, tmp_path), tmp_path)
    assert found.indexes == ("https://a/simple", "https://b/simple", "https://c")
    assert found.find_links == (str(tmp_path / "more" / "wheels"),)
    assert NONE.with_indexes(found).insecure_hosts == ("b",)


def test_a_step_that_may_ask_no_index(tmp_path: Path) -> None:
    found = with_options(Indexes(), read_options({"r.txt": "--no-index\n-f wheels\n"}, tmp_path), tmp_path)
    assert found.no_index
    assert found.find_links == (str(tmp_path / "wheels"),)
    assert NONE.for_step(NO_INDEX, found).uv_toml().startswith("no-index = true\n")
    assert "no-index" not in NONE.for_step("", found).uv_toml()  # the notebook's packages


def test_tables_of_pyproject(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[[tool.uv.index]]\nname = "torch"\nurl = "https://t/cpu"\nexplicit = true\n'
        '[[tool.uv.index]]\nurl = "local"\n[tool.uv.pip]\nextra-index-url = ["https://e/simple"]\n'
    )
    found = project_indexes(tmp_path)
    assert found.indexes == (str(tmp_path / "local"), "https://e/simple")
    assert found.explicit == ("torch=https://t/cpu",)


def test_uv_toml_goes_before_pyproject(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.uv]\nindex-url = "https://no/simple"\n')
    (tmp_path / "uv.toml").write_text('index-url = "https://yes/simple"\n')
    assert project_indexes(tmp_path).indexes == ("https://yes/simple",)


@pytest.mark.parametrize("text", ["tool = 1", "[tool]\nuv = 1", "[tool.uv]\npip = 1"])
def test_something_else_where_a_table_belongs(text: str, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(text)
    assert project_indexes(tmp_path) == Indexes()


def test_no_files_no_indexes(tmp_path: Path) -> None:
    assert project_indexes(tmp_path) == Indexes()


def test_the_hosts_settings_are_joined_once_each_with_the_hosts_passwords() -> None:
    environ = {"UV_INDEX_MINE_USERNAME": "me", "UV_INDEX_MINE_PASSWORD": "secret"}
    joined = NONE.with_indexes(Indexes(indexes=("mine=https://m/simple", "https://a"), find_links=("/w",)), environ)
    assert joined.extra_index_urls == ("mine=https://me:secret@m/simple", "https://a")
    assert joined.find_links == ("/w",)
    assert joined.with_indexes(Indexes(indexes=("https://a",)), environ) == joined


def test_one_index_alone_has_the_projects_or_uvs_password() -> None:
    indexes = Indexes(explicit=("mine=https://me:secret@m/simple/",))
    settings = evolve(NONE, index_url="https://d", extra_index_urls=("https://e",), index_strategy="x")
    only = settings.only("mine=https://m/simple", indexes, {})
    assert (only.index_url, only.extra_index_urls, only.index_strategy) == ("https://me:secret@m/simple/", (), "")
    environ = {"UV_INDEX_MINE_USERNAME": "you", "UV_INDEX_MINE_PASSWORD": "p"}
    assert settings.only("mine=https://m/simple", Indexes(), environ).index_url == "https://you:p@m/simple"


@pytest.mark.parametrize(
    ("index", "plain"),
    [
        ("https://h/simple/", "https://h/simple"),
        ("name=https://h/simple", "https://h/simple"),
        ("n=https://me:x=y@h:80/simple?a=b", "https://h:80/simple?a=b"),
        ("file:///srv/simple", "/srv/simple"),
        ("", ""),
    ],
)
def test_indexes_are_compared_by_their_plain_addresses(index: str, plain: str) -> None:
    assert plain_url(index) == plain
    assert matching(index, ["https://other", index]) == index
    assert without_credentials(f"a={plain}") == f"a={plain}"


@pytest.mark.parametrize("text", ["tool = 1\n", "[tool]\nuv = 2\n", "[tool.uv]\nindex = 3\npip = 4\nfind-links = 5\n"])
def test_settings_that_are_no_tables_name_no_index(tmp_path: Path, text: str) -> None:
    (tmp_path / "pyproject.toml").write_text(text)
    assert project_indexes(tmp_path) == Indexes()
