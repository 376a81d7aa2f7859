"""References of experiments: in registries and in layouts."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocicaliban.app import published
from ocicaliban.app.published import Published, PublishedFile
from ocicaliban.errors import OcicalibanError, UsageError
from ocicaliban.publish import documents
from ocicaliban.registry.layouts import Layout
from tests.unit.publish.test_experiment import JOB, MADE

DIGEST = f"sha256:{'d' * 64}"


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.mark.parametrize(
    ("reference", "name", "tag"),
    [
        ("reg.example/a/b:v1", "v1", ""),
        (f"docker://reg.example:5000/a/b@{DIGEST}", DIGEST, ""),
        (f"reg.example:5000/a/b:v1@{DIGEST}", DIGEST, "v1"),
    ],
)
def test_a_reference_names_a_tag_or_a_digest(reference: str, name: str, tag: str) -> None:
    assert published.parse(reference)[1:] == (name, tag)


@pytest.mark.parametrize(
    "reference", ["reg.example/a/b", "reg.example/a/b@sha256:12", f"reg.example/a/b@md5:{'d' * 64}"]
)
def test_what_is_no_reference_says_so(reference: str) -> None:
    with pytest.raises(UsageError, match=r"has neither a tag nor a digest|has no valid digest"):
        published.parse(reference)


def test_a_reference_of_a_layout_is_a_path_with_a_tag_or_a_digest(tmp_path: Path) -> None:
    (tmp_path / "a:b").mkdir()
    place = f"oci:{tmp_path / 'a:b'}"
    for words, expected in (
        ("", ("", "")),
        (":v1", ("v1", "")),
        (f"@{DIGEST}", (DIGEST, "")),
        (f":v1@{DIGEST}", (DIGEST, "v1")),
    ):
        layout, *rest = published.parse_layout(place + words)
        assert (layout.place, *rest) == (place, *expected)
    for missing in (f"oci:{tmp_path / 'none'}", "oci:none", "oci-archive:none:v1"):
        with pytest.raises(UsageError, match=r"none.* does not exist"):
            published.parse_layout(missing)


def layout(tmp_path: Path) -> tuple[Layout, str]:
    made = Layout(f"oci:{tmp_path / 'lay'}")
    parts = [documents.head(MADE), *documents.others([JOB], None)]
    for each in parts:
        made.put_blob(each.data)
    data = documents.manifest(parts, documents.subject(MADE.image, 1), {})
    digest = made.attach(data)
    made.put_manifest("paper", data)
    return made, digest


def test_an_experiment_of_a_layout_is_read_and_saved(tmp_path: Path) -> None:
    made, digest = layout(tmp_path)
    for words in ("", ":paper", f"@{digest}", f":paper@{digest}"):
        found = published.read(made.place + words)
        assert found.digest == digest and found.experiment == MADE and found.jobs == (JOB,)
    assert [tag for tag, _ in published.all_in(made.place)] == ["paper"]
    with pytest.raises(OcicalibanError, match="somebody has moved it"):
        published.read(f"{made.place}:paper@{DIGEST}")
    published.save(found, tmp_path / "saved")
    assert {path.name for path in (tmp_path / "saved").iterdir()} == {"experiment.json", "jobs.jsonl.gz"}
    with pytest.raises(UsageError, match="exists"):
        published.save(found, tmp_path / "saved")


def test_a_name_that_no_text_can_hold_is_refused(tmp_path: Path) -> None:
    made, digest = layout(tmp_path)
    found = made.get_manifest(digest)
    assert found
    data = found[1].replace(b"jobs.jsonl.gz", rb"\ud800")
    made.put_manifest("evil", data)
    with pytest.raises(OcicalibanError, match="is not an experiment as ocicaliban publishes it"):
        published.read(f"{made.place}:evil")


def test_only_what_is_wanted_is_fetched(tmp_path: Path) -> None:
    found = published.read(layout(tmp_path)[0].place)
    published.save(found, tmp_path / "saved", wanted=lambda file: file.media_type == documents.JOBS)
    assert [path.name for path in (tmp_path / "saved").iterdir()] == ["jobs.jsonl.gz"]


@pytest.mark.parametrize(
    "title",
    [
        "../evil", "/etc/evil", "a/../../evil", "", "a//b", "a\0b", ".git/config", "a/.GIT/HEAD", ".git", "\ud800",
    ],
)  # fmt: skip
def test_a_document_never_leads_out_of_its_folder(tmp_path: Path, title: str) -> None:
    made, digest = layout(tmp_path)
    evil = PublishedFile(title=title, media_type="x", digest=digest, size=1)
    found = Published(place=made.place, digest=digest, experiment=MADE, files=(evil,))
    with pytest.raises(OcicalibanError, match="has a document called"):
        published.save(found, tmp_path / "saved", wanted=lambda _: False)
    assert not (tmp_path / "saved").exists()
