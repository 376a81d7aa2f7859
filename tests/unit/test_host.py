"""What the host says about package indexes, and who says it first."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocicaliban import host
from ocicaliban.errors import UsageError


def conf(home: Path, text: str, name: str = ".config/pip/pip.conf") -> dict[str, str]:
    path = home / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return {"HOME": str(home)}


def test_uv_before_pip_before_the_file(tmp_path: Path) -> None:
    env = conf(tmp_path, "[global]\nindex-url = https://old/%40\n", ".pip/pip.conf")
    assert host.read(env).index_url == "https://old/%40"
    env = conf(tmp_path, "[global]\nindex-url = https://file/\nextra-index-url =\n  https://a/\n  https://b/\n")
    assert host.read(env).index_url == "https://file/"
    assert host.read(env).extra_index_urls == ("https://a/", "https://b/")
    env["PIP_INDEX_URL"] = "https://pip/"
    assert host.read(env).index_url == "https://pip/"
    env["UV_DEFAULT_INDEX"] = "https://uv/"
    assert host.read(env).index_url == "https://uv/"


def test_uvs_environment_and_local_folders(tmp_path: Path) -> None:
    (tmp_path / "wheels").mkdir()
    (tmp_path / "ca.pem").write_text("")
    wheels = str(tmp_path / "wheels")
    env = conf(tmp_path, f"[global]\nfind-links = {wheels}\n    file://{wheels} https://w/\n")
    env |= {"PIP_CERT": str(tmp_path / "ca.pem"), "UV_INDEX": "https://a/ https://b/", "UV_DEFAULT_INDEX": "https://u/"}
    settings = host.read(env)
    assert settings.local_folders() == (Path(wheels), Path(wheels))
    assert settings.uv_environ() == {
        "UV_DEFAULT_INDEX": "https://u/",
        "UV_INDEX": "https://a/ https://b/",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_FIND_LINKS": f"{wheels},file://{wheels},https://w/",
        "SSL_CERT_FILE": str(tmp_path / "ca.pem"),
    }


def test_the_ca_bundle(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).write_text("")
    env = conf(tmp_path, f"[global]\ncert = {tmp_path / 'a'}\n")
    assert host.read(env).ca_bundle == tmp_path / "a"
    env["PIP_CERT"] = str(tmp_path / "b")
    assert host.read(env).ca_bundle == tmp_path / "b"
    env["SSL_CERT_FILE"] = str(tmp_path / "c")
    assert host.read(env).ca_bundle == tmp_path / "c"
    env["SSL_CERT_FILE"] = str(tmp_path / "gone")
    assert host.read(env).ca_bundle is None


def test_no_password_is_shown(tmp_path: Path) -> None:
    url = "https://me:hunter2@example/"
    env = {"HOME": str(tmp_path), "UV_DEFAULT_INDEX": url, "UV_INDEX": url, "UV_FIND_LINKS": url}
    assert "hunter2" not in repr(host.read(env))


def test_a_broken_pip_conf(tmp_path: Path) -> None:
    env = conf(tmp_path, "index-url = https://me:hunter2@example/\n")
    with pytest.raises(UsageError, match=r"pip\.conf") as caught:
        host.read(env)
    assert "hunter2" not in str(caught.value)
