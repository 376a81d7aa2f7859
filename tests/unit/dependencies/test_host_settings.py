"""What the host says about package indexes, and who says it first."""

from __future__ import annotations

import os
import subprocess
import tomllib
import zipfile
from pathlib import Path

import pytest

from ocicaliban.dependencies.host_settings import HostSettings, read_host_settings
from ocicaliban.errors import UsageError


def conf(home: Path, text: str, name: str = ".config/pip/pip.conf") -> dict[str, str]:
    path = home / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return {"HOME": str(home)}


def test_uv_before_pip_before_the_file(tmp_path: Path) -> None:
    env = conf(tmp_path, "[global]\nindex-url = https://old/%40\n", ".pip/pip.conf")
    assert read_host_settings(env).index_url == "https://old/%40"
    env = conf(tmp_path, "[global]\nindex-url = https://file/\nextra-index-url =\n  https://a/\n  https://b/\n")
    assert read_host_settings(env).index_url == "https://file/"
    assert read_host_settings(env).extra_index_urls == ("https://a/", "https://b/")
    env["PIP_INDEX_URL"] = "https://pip/"
    assert read_host_settings(env).index_url == "https://pip/"
    env["UV_DEFAULT_INDEX"] = "https://uv/"
    assert read_host_settings(env).index_url == "https://uv/"


def test_uvs_environment_and_local_folders(tmp_path: Path) -> None:
    (tmp_path / "wheels").mkdir()
    (tmp_path / "ca.pem").write_text("")
    wheels = str(tmp_path / "wheels")
    uri = (tmp_path / "wheels").as_uri()
    env = conf(tmp_path, f"[global]\nfind-links = {wheels}\n    file://{wheels} https://w/\n")
    env |= {"PIP_CERT": str(tmp_path / "ca.pem"), "UV_INDEX": "https://a/ https://b/", "UV_DEFAULT_INDEX": "https://u/"}
    settings = read_host_settings(env)
    inside, mounts = settings.in_container()
    assert mounts == {Path(wheels): "/dev/oc-local-0"}
    assert inside.find_links == ("/dev/oc-local-0", "/dev/oc-local-0", "https://w/")
    assert settings.uv_environ() == {
        "UV_DEFAULT_INDEX": "https://u/",
        "UV_INDEX": "https://a/ https://b/",
        "UV_FIND_LINKS": f"{uri},{uri},https://w/",
        "SSL_CERT_FILE": str(tmp_path / "ca.pem"),
    }


def test_the_ca_bundle(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).write_text("")
    env = conf(tmp_path, f"[global]\ncert = {tmp_path / 'a'}\n")
    assert read_host_settings(env).ca_bundle == tmp_path / "a"
    env["PIP_CERT"] = str(tmp_path / "b")
    assert read_host_settings(env).ca_bundle == tmp_path / "b"
    env["SSL_CERT_FILE"] = str(tmp_path / "c")
    assert read_host_settings(env).ca_bundle == tmp_path / "c"
    env["SSL_CERT_FILE"] = str(tmp_path / "gone")
    assert read_host_settings(env).ca_bundle == tmp_path / "b"
    (tmp_path / "ca-certificates.crt").write_text("")
    gone = {"HOME": str(tmp_path / "nobody"), "PIP_CERT": "/gone", "SSL_CERT_FILE": "/gone"}
    assert read_host_settings(gone).ca_bundle is None
    assert read_host_settings({**gone, "SSL_CERT_DIR": str(tmp_path)}).ca_bundle == tmp_path / "ca-certificates.crt"


def test_what_pip_is_told_in_its_many_ways(tmp_path: Path) -> None:
    text = "[global]\nindex_url = https://g/\nno-index = false\n[install]\nindex-url = https://i/\nno_index = yes\n"
    env = conf(tmp_path, text + "trusted-host = a\n  b:8080\n")
    settings = read_host_settings(env)
    assert (settings.index_url, settings.no_index, settings.insecure_hosts) == ("https://i/", True, ("a", "b:8080"))
    assert settings.uv_arguments() == ("--no-index",)
    assert settings.uv_environ()["UV_INSECURE_HOST"] == "a b:8080"
    assert tomllib.loads("\n".join(settings.uv_lines())) == {"no-index": True, "allow-insecure-host": ["a", "b:8080"]}
    own = tmp_path / "own.conf"
    own.write_text("[global]\nextra_index_url = https://x/\n[install]\nno-index = 0\n")
    settings = read_host_settings({**env, "PIP_CONFIG_FILE": str(own), "PIP_TRUSTED_HOST": "c"})
    assert (settings.index_url, settings.extra_index_urls) == ("https://i/", ("https://x/",))
    assert (settings.no_index, settings.insecure_hosts) == (False, ("c",))
    assert read_host_settings({**env, "PIP_CONFIG_FILE": "/dev/null"}).index_url == ""


def test_only_pips_indexes_are_all_searched(tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path)}
    assert read_host_settings({**home, "PIP_EXTRA_INDEX_URL": "https://a/"}).index_strategy == "unsafe-best-match"
    for name in ("UV_INDEX", "UV_EXTRA_INDEX_URL"):
        settings = read_host_settings({**home, name: "https://a/", "PIP_EXTRA_INDEX_URL": "https://b/"})
        assert (settings.extra_index_urls, settings.index_strategy) == (("https://a/",), "")
    asked = {**home, "PIP_EXTRA_INDEX_URL": "https://b/", "UV_INDEX_STRATEGY": "first-index"}
    assert read_host_settings(asked).uv_environ()["UV_INDEX_STRATEGY"] == "first-index"


def test_named_indexes_and_their_passwords(tmp_path: Path) -> None:
    env = {
        "HOME": str(tmp_path),
        "UV_DEFAULT_INDEX": "main=https://m/",
        "UV_INDEX": "my-own=https://a/s other=https://b/",
    }
    env |= {"UV_INDEX_MY_OWN_USERNAME": "me", "UV_INDEX_MY_OWN_PASSWORD": "p@ss"}
    settings = read_host_settings(env)
    assert settings.index_url == "https://m/"
    assert settings.extra_index_urls == ("my-own=https://me:p%40ss@a/s", "other=https://b/")
    assert "p%40ss" not in repr(settings)


def test_local_folders_may_hold_blanks_and_be_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a b", "c,d", "e"):
        (tmp_path / name).mkdir()
    links = f"file://{tmp_path}/c%2Cd e"
    settings = read_host_settings(
        {"HOME": str(tmp_path), "UV_INDEX": f"l=file://{tmp_path}/a%20b", "PIP_FIND_LINKS": links}
    )
    assert {*settings.in_container()[1]} == {tmp_path / "a b", tmp_path / "c,d", tmp_path / "e"}
    assert settings.uv_environ()["UV_INDEX"] == f"l=file://{tmp_path}/a%20b"
    assert settings.uv_environ()["UV_FIND_LINKS"] == f"file://{tmp_path}/c%2Cd,file://{tmp_path}/e"


UV = """
no-index = false
find-links = ["https://links/"]
allow-insecure-host = ["h"]
[[index]]
url = "https://default/"
default = true
[[index]]
name = "named"
url = "https://named/"
[[index]]
name = "asked-for-alone"
url = "https://explicit/"
explicit = true
[pip]
extra-index-url = ["https://pip-table/"]
index-strategy = "unsafe-first-match"
"""


def test_uvs_own_file_between_uvs_and_pips_variables(tmp_path: Path) -> None:
    env = {
        **conf(tmp_path, UV, ".config/uv/uv.toml"),
        "PIP_INDEX_URL": "https://pip/",
        "PIP_EXTRA_INDEX_URL": "https://p/",
    }
    settings = read_host_settings(env)
    assert settings.index_url == "https://default/"
    assert settings.extra_index_urls == ("named=https://named/", "https://pip-table/")
    assert (settings.find_links, settings.insecure_hosts) == (("https://links/",), ("h",))
    assert settings.index_strategy == "unsafe-first-match"
    assert read_host_settings({**env, "UV_DEFAULT_INDEX": "https://uv/"}).index_url == "https://uv/"
    assert read_host_settings({**env, "UV_NO_CONFIG": "1"}).index_url == "https://pip/"
    (tmp_path / "other.toml").write_text('index-url = "https://other/"\n')
    assert read_host_settings({**env, "UV_CONFIG_FILE": str(tmp_path / "other.toml")}).index_url == "https://other/"


def test_a_broken_uv_toml(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"uv\.toml: not valid TOML") as caught:
        read_host_settings(conf(tmp_path, 'index-url = "https://me:hunter2@example/', ".config/uv/uv.toml"))
    assert "hunter2" not in str(caught.value)


def test_uv_takes_what_it_is_given(tmp_path: Path) -> None:
    """A local index with a blank in its path and a name, by the environment and by the file."""
    wheel = "oc_thing-1.0-py3-none-any.whl"
    folder = tmp_path / "a b" / "oc-thing"
    folder.mkdir(parents=True)
    with zipfile.ZipFile(folder / wheel, "w") as file:
        info = "oc_thing-1.0.dist-info"
        file.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: oc-thing\nVersion: 1.0\n")
        file.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(f"{info}/RECORD", "")
    (folder / "index.html").write_text(f'<a href="{wheel}">{wheel}</a>')
    (tmp_path / "in.txt").write_text("oc-thing\n")
    given = {"UV_FIND_LINKS": folder.as_uri(), "PIP_NO_INDEX": "1", "PIP_TRUSTED_HOST": "h:1"}
    index = {"UV_DEFAULT_INDEX": f"here={(tmp_path / 'a b').as_uri()}"}
    command = ("uv", "pip", "compile", "--quiet", "--no-header", "--no-annotate", "in.txt")
    for variables in (given, index):
        settings = read_host_settings({"HOME": str(tmp_path), **variables})
        (tmp_path / "own.toml").write_text("\n".join(settings.uv_lines()))
        for env in (settings.uv_environ(), {**settings.uv_environ(), "UV_CONFIG_FILE": str(tmp_path / "own.toml")}):
            argv = [*command, *settings.uv_arguments()]
            env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), **env}
            done = subprocess.run(argv, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
            assert done.stdout == "oc-thing==1.0\n", done.stderr


def test_no_password_is_shown(tmp_path: Path) -> None:
    url = "https://me:hunter2@example/"
    env = {"HOME": str(tmp_path), "UV_DEFAULT_INDEX": url, "UV_INDEX": url, "UV_FIND_LINKS": url}
    assert "hunter2" not in repr(read_host_settings(env))


def test_a_broken_pip_conf(tmp_path: Path) -> None:
    env = conf(tmp_path, "index-url = https://me:hunter2@example/\n")
    with pytest.raises(UsageError, match=r"pip\.conf") as caught:
        read_host_settings(env)
    assert "hunter2" not in str(caught.value)


def test_an_index_on_disk_is_seen_with_the_files_that_its_links_lead_to(tmp_path: Path) -> None:
    (tmp_path / "simple").mkdir()
    (tmp_path / "links").mkdir()
    index, links = f"mine={tmp_path}/simple", f"{tmp_path}/links"
    extra = (index, "https://a")
    settings = HostSettings(ca_bundle=None, index_url="", extra_index_urls=extra, find_links=(links,))
    inside, mounts = settings.in_container()
    assert mounts == {tmp_path: "/dev/oc-local-0", tmp_path / "links": "/dev/oc-local-1"}
    assert inside.extra_index_urls == ("mine=/dev/oc-local-0/simple", "https://a")
    assert inside.find_links == ("/dev/oc-local-1",)
