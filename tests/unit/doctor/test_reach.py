"""What doctor says of the network. Nothing here uses one."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocicaliban.doctor import checks, reach
from ocicaliban.doctor.finding import Finding
from ocicaliban.doctor.reach import Place, ask

HUB = "https://registry-1.docker.io/v2/"


@pytest.mark.parametrize(
    ("config", "names"),
    [
        (
            "",
            {
                "registry": "https://registry-1.docker.io/v2/",
                "packages": "https://pypi.org/simple/",
                "Debian": reach.DEBIAN,
            },
        ),
        ('[layers.base]\nimage = "ghcr.io/me/base:1"\n', {"registry": "https://ghcr.io/v2/"}),
        (
            '[layers.base]\nimage = "localhost:5000/me/base@sha256:' + "a" * 64 + '"\n',
            {"registry": "https://localhost:5000/v2/"},
        ),
        ('[layers.base]\nimage = "oci:base"\n', {"registry": None}),
        ('[layers.base]\nbootstrap = "debian:bookworm"\n', {"registry": None, "Debian": reach.DEBIAN}),
        ("layers = 3\n", {"registry": HUB}),
    ],
)
def test_what_the_project_fetches_is_looked_for(
    config: str, names: dict[str, str | None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ocicaliban.toml").write_text(config)
    monkeypatch.chdir(tmp_path)
    found = {place.name: place.url for place in reach.places({"HOME": str(tmp_path)})}
    assert {name: found.get(name) for name in names} == names


def test_an_index_is_named_without_its_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    environ = {"HOME": str(tmp_path), "UV_DEFAULT_INDEX": "https://me:geheim@pkgs.example.org/simple"}
    [index] = (place for place in reach.places(environ) if place.name == "packages")
    assert "geheim" in index.url and "geheim" not in index.title and "pkgs.example.org" in index.title


def test_what_cannot_be_reached_is_a_warning_with_a_remedy() -> None:
    wanted = tuple(Place(name=name, url=name, title=name, remedy="mend it") for name in ("near", "far"))
    near, far = reach.check(wanted, lambda url: 0.123 if url == "near" else "no answer within seconds")
    assert (near.level, near.message, near.remedy) == ("ok", "near answers in 0.12 s", "")
    assert (far.level, far.message, far.remedy) == (
        "warning", "far cannot be reached: no answer within seconds", "mend it"
    )  # fmt: skip


def test_an_address_without_a_server_is_told_in_words() -> None:
    assert ask("http://127.0.0.1:1/") == "the connection is refused"


def test_the_last_line_says_whether_the_machine_is_ready() -> None:
    def made(*levels: str) -> tuple[Finding, ...]:
        return tuple(Finding(name="x", level=level, message="m") for level in levels)  # type: ignore[arg-type]

    assert checks.summary(made("ok", "ok")) == "ready: 2 ok"
    assert checks.summary(made("ok", "missing", "warning")) == "ready: 1 ok, 1 warning, 1 optional part missing"
    assert checks.summary(made("error", "error", "ok")) == "not ready: 2 errors, 1 ok"
