"""A locked base that no registry has is fetched from where the project's images are, and is the locked one."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve

from ocicaliban.build import base_image
from ocicaliban.build.base import bootstrap, published
from ocicaliban.containers import buildah, image_store, layer_cache
from ocicaliban.errors import ToolError
from ocicaliban.model.image import Base, Image
from ocicaliban.model.project import Project, Push
from ocicaliban.registry.reference import Repository
from ocicaliban.reporter import Reporter

ID = "ba5e" * 16
BASE = Base(kind="bootstrap", reference="debian:bookworm", digest=f"sha256:{ID}", platform="linux/amd64")
REPOSITORY = Repository(host="ghcr.io", path="ada/digits")
REFERENCE = f"ghcr.io/ada/digits:ocicaliban-base-{ID[:32]}"


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """An empty store, where a bootstrapped base is the locked one."""
    made: list[str] = []
    known: list[str] = []

    def by_digest(digest: str) -> Image | None:
        return Image(id=ID, digest="", key="") if known and digest == BASE.digest else None

    def bootstrapped(*_: object, **__: object) -> Image:
        made.append("bootstrapped")
        return Image(id=ID, digest="", key="")

    def pull(reference: str, *, tls_verify: bool) -> str:
        made.append(f"{reference} {tls_verify}")
        known.append(reference)
        return ID

    monkeypatch.setattr(image_store, "by_digest", by_digest)
    monkeypatch.setattr(layer_cache, "find", lambda *_: None)
    monkeypatch.setattr(layer_cache, "keep", lambda *_: None)
    monkeypatch.setattr(bootstrap, "fetch", bootstrapped)
    monkeypatch.setattr(buildah, "pull", pull)
    return made


def test_it_is_fetched_instead_of_made(made: list[str]) -> None:
    assert base_image.ensure(BASE, published=REPOSITORY).id == ID
    assert made == [f"{REFERENCE} True"]
    here = Repository(host="localhost:5000", path="digits")
    published.fetch(BASE, here, Reporter(made.append))
    assert made[-1].startswith("localhost:5000/digits:") and made[-1].endswith(" False")


@pytest.mark.parametrize("base", [BASE, evolve(BASE, kind="local", reference="localhost/mine")])
def test_without_a_repository_it_is_made(made: list[str], base: Base) -> None:
    if base.kind == "bootstrap":
        base_image.ensure(base)
        assert made == ["bootstrapped"]
    base_image.ensure(base, published=REPOSITORY)
    assert made[-1] == f"{REFERENCE} True"


def test_one_that_is_not_there_or_is_another_one_is_told_and_made(
    made: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []

    def missing(*_: object, **__: object) -> str:
        raise ToolError("buildah pull failed", stderr="x\nError: manifest unknown")

    monkeypatch.setattr(buildah, "pull", missing)
    base_image.ensure(BASE, published=REPOSITORY, reporter=Reporter(said.append))
    assert said[-1] == "note: the base image cannot be fetched from ghcr.io/ada/digits: manifest unknown"
    monkeypatch.setattr(buildah, "pull", lambda *_, **__: "0" * 64)
    base_image.ensure(BASE, published=REPOSITORY, reporter=Reporter(said.append))
    assert said[-1] == f"warning: {REFERENCE} is another image than the one in ocicaliban.lock, and is not used"
    assert made == ["bootstrapped", "bootstrapped"]


@pytest.mark.parametrize(
    ("own", "users", "expected"),
    [
        ("ghcr.io/ada/digits", "ghcr.io/ada", "ghcr.io/ada/digits"),
        ("", "ghcr.io/ada", "ghcr.io/ada/digits"),
        ("", "", None),
        ("not a repository", "", None),
    ],
)
def test_the_repository_is_that_of_push(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: str, users: str, expected: str | None
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "ocicaliban").mkdir()
    (tmp_path / "ocicaliban" / "config.toml").write_text(f'[push]\nrepository = "{users}"\n' if users else "")
    found = published.repository_of(Project(root=Path("/x/digits"), push=Push(repository=own)))
    assert (str(found) if found else None) == expected
