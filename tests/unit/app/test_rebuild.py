"""What a stranger's experiment must not do where its image is built again."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from attrs import evolve

from ocicaliban.app import launch, origin, rebuild
from ocicaliban.app.published import Published, PublishedFile, read
from ocicaliban.app.requests import LaunchRequest, ReproduceRequest
from ocicaliban.build import planner
from ocicaliban.build.planner import PlannedImage
from ocicaliban.build.request import PlanRequest
from ocicaliban.errors import OcicalibanError, UsageError
from ocicaliban.jobs.origin import Origin
from ocicaliban.model.image import Image
from ocicaliban.publish import documents
from ocicaliban.registry.layouts import Layout
from tests.folders import write
from tests.unit.publish.test_experiment import JOB, MADE

HONEST = {
    "ocicaliban.toml": '[layers.base]\nimage = "example.org/base:1"\n',
    "requirements.txt": "six\n",
    "Containerfile": "FROM scratch\n",
}
IDENTITY = ("-c", "user.name=a", "-c", "user.email=a@example.org")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A git checkout with a folder, and links: out of it, into the folder of git, and to themselves."""
    root = tmp_path / "source"
    write(root, {"paper/train.py": "1", "paper/ocicaliban.toml": "", "bare/commondir": "x", "honest/train.py": ""})
    for name, target in (("out", ".."), ("far", "/etc"), ("own", ".git"), ("paper/up", "../../.."), ("paper/g", "own")):
        (root / name).symlink_to(target)
    (root / "paper" / "hooks").symlink_to("../.git/hooks")
    (root / "paper" / "loop").symlink_to("loop")
    git(root, "init", "-q")
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "First")
    return root


def git(root: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *IDENTITY, *words], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def published(folder: str = "", *titles: str, **build: object) -> Published:
    files = tuple(PublishedFile(title=title, media_type=documents.FILE, digest="", size=1) for title in titles)
    made = evolve(MADE, folder=folder, build=build)
    return Published(place="reg.example/x", digest=f"sha256:{'d' * 64}", experiment=made, files=files)


def sources(found: Published, source: Path, tmp_path: Path) -> tuple[Path, tuple[str, ...]]:
    """Check the sources out, and put the documents into them."""
    made = evolve(found, experiment=evolve(found.experiment, commit=git(source, "rev-parse", "HEAD")))
    for each in found.files:
        write(tmp_path / "documents", {each.title: "evil"})
    root = rebuild._sources(cast(ReproduceRequest, SimpleNamespace(source=str(source))), made, tmp_path)
    return root, rebuild._put_all(made, tmp_path / "documents", root, (tmp_path / "checkout").resolve())


@pytest.mark.parametrize("folder", ["/etc", "..", "out", "far", "own", ".git", ".git/hooks", "paper/up", "none"])
def test_the_projects_folder_is_in_the_checkout(folder: str, source: Path, tmp_path: Path) -> None:
    with pytest.raises(OcicalibanError, match="has no folder"):
        sources(published(folder, "ocicaliban.lock"), source, tmp_path)
    assert not [*tmp_path.rglob("ocicaliban.lock")] or [*tmp_path.rglob("ocicaliban.lock")] == [
        tmp_path / "documents" / "ocicaliban.lock"
    ]


@pytest.mark.parametrize("title", ["up/evil", "hooks/post-checkout", "loop/x", "train.py/x"])
def test_no_document_is_written_elsewhere(title: str, source: Path, tmp_path: Path) -> None:
    with pytest.raises(OcicalibanError, match="the sources have"):
        sources(published("paper", title), source, tmp_path)
    assert not (tmp_path.parent / "evil").exists()
    assert not (tmp_path / "checkout" / ".git" / "hooks" / "post-checkout").exists()


@pytest.mark.parametrize(
    ("folder", "titles"), [("paper", ("HEAD", "config", "objects/x", "refs/x")), ("bare", ("HEAD", "config"))]
)
def test_documents_do_not_make_a_git_repository(
    folder: str, titles: tuple[str, ...], source: Path, tmp_path: Path
) -> None:
    with pytest.raises(OcicalibanError, match="have a git repository"):
        sources(published(folder, *titles), source, tmp_path)


def test_only_what_declares_the_environment_is_put_into_the_sources(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = published("paper", "ocicaliban.lock", "sweep/x", "recipes/a/layer.toml", "train.py")
    root, put = sources(found, source, tmp_path)
    assert root == tmp_path / "checkout" / "paper" and put == ("ocicaliban.lock", "train.py")
    monkeypatch.setattr(origin, "declarations", lambda _: [("ocicaliban.lock", "evil")])
    planned = cast(PlannedImage, None)
    rebuild._check_read(found, put[:1], planned)
    with pytest.raises(OcicalibanError, match=r"a document called 'train\.py'"):
        rebuild._check_read(found, put, planned)


def test_an_honest_experiment_is_built_from_its_sources_and_lock(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CACHE", "STATE", "CONFIG"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name))
    parts = [
        documents.head(evolve(MADE, folder="honest", commit=git(source, "rev-parse", "HEAD"), build={"mode": "run"})),
        *documents.others([JOB], Origin(program="1", sweep_name="s.json", sweep="{}", files=HONEST)),
        documents.Document(media_type=documents.RESULTS, title="results/1.tar.gz", data=b"large"),
    ]
    layout = Layout(f"oci:{tmp_path / 'layout'}")
    for each in parts[:-1]:  # what is not fetched need not be there
        layout.put_blob(each.data)
    layout.put_manifest("paper", documents.manifest(parts, documents.subject(MADE.image, 1), {}))
    seen: list[str] = []

    def prepare(asked: LaunchRequest, *, only_build: bool) -> SimpleNamespace:
        assert only_build, "nothing runs"
        seen.extend(path.name for path in Path.cwd().iterdir() if path.is_file())
        plan = PlanRequest(root=Path.cwd(), mode=asked.mode, module=asked.module, resolve=False)
        image = Image(id="b" * 64, digest="", key="")
        return SimpleNamespace(planned=planner.plan_project(plan), image=lambda: image)

    monkeypatch.setattr(launch, "prepare", prepare)
    request = ReproduceRequest(reference=f"{layout.place}:paper", source=str(source))
    assert rebuild.rebuild(request, read(request.reference)).same
    assert sorted(seen) == ["ocicaliban.toml", "requirements.txt", "train.py"]


@pytest.mark.parametrize(
    "build", [{"image_id": "b" * 64}, {"podman_args": "--privileged"}, {"cloud_key": "/k"}, {"dry_run": True}]
)
def test_only_what_decides_an_image_is_taken(build: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=f"does not know: {next(iter(build))}"):
        rebuild._asked(published("", mode="run", **build))
    asked = rebuild._asked(published("", mode="run", extras=["x"], mount=True))
    assert asked.extras == ("x",) and asked.mount and not asked.image_id
