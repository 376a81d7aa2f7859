"""What a base's declaration names, when the lock still holds for it, and what a failed pull means."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from attrs import evolve

from ocicaliban.build import base_image
from ocicaliban.errors import UsageError
from ocicaliban.model.image import Base
from ocicaliban.model.project import Project
from ocicaliban.model.recipe import Variant
from ocicaliban.recipes import catalog, params

DIGEST = "sha256:" + "ab" * 32


@pytest.mark.parametrize(
    ("reference", "name", "digest"),
    [
        ("python", "docker.io/library/python:latest", ""),
        ("python:3.12", "docker.io/library/python:3.12", ""),
        ("jupyter/base-notebook", "docker.io/jupyter/base-notebook:latest", ""),
        ("quay.io/some/one:v1", "quay.io/some/one:v1", ""),
        ("127.0.0.1:5000/one", "127.0.0.1:5000/one:latest", ""),
        ("localhost/mine", "localhost/mine:latest", ""),
        (f"python@{DIGEST}", "docker.io/library/python", DIGEST),
        (f"quay.io/a/b:1@{DIGEST}", "quay.io/a/b:1", DIGEST),
    ],
)
def test_a_reference_is_completed_as_podman_and_docker_do(reference: str, name: str, digest: str) -> None:
    assert base_image.full_name(reference) == (name, digest)


@pytest.mark.parametrize(
    "reference",
    ["", "--root=/x", "a b", "quay.io/A/b", "python:", "python@sha256:12", "docker-archive:x.tar", "a//b", "$(id)"],
)
def test_what_names_no_image_is_refused(reference: str) -> None:
    with pytest.raises(UsageError) as caught:
        base_image.declared(reference, "")
    assert repr(reference)[1:-1] in caught.value.message
    assert "oci-archive:FILE" in caught.value.hint


@pytest.mark.parametrize("suite", ["bookworm", "ubuntu:noble", "debian:Bookworm", "debian:a b", "debian:--help"])
def test_what_is_no_suite_of_debian_is_refused(suite: str) -> None:
    with pytest.raises(UsageError, match="is not debian:SUITE"):
        base_image.declared("", suite)


@pytest.mark.parametrize("reference", ["oci:nowhere", "oci-archive:nowhere.tar"])
def test_an_archive_that_is_not_there_is_told(reference: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="nowhere"):
        base_image.declared(reference, "")


def test_an_archive_that_is_none_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.tar").write_text("not a tar")
    with pytest.raises(UsageError, match="not an OCI archive"):
        base_image.declared("oci-archive:x.tar", "")
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "index.json").write_text('{"manifests": 3}')
    with pytest.raises(UsageError, match="holds no OCI image"):
        base_image.declared("oci:x", "")


INDEX = """{"manifests": [
  {"digest": "sha256:1", "annotations": {"org.opencontainers.image.ref.name": "one"}},
  {"digest": "sha256:2", "annotations": {"org.opencontainers.image.ref.name": "two"}}]}"""


def test_one_of_several_images_in_an_archive_is_chosen_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "My Images.d").mkdir()
    (tmp_path / "My Images.d" / "index.json").write_text(INDEX)
    assert base_image.declared("oci:My Images.d:two", "").digest == "sha256:2"
    with pytest.raises(UsageError, match="holds 2 images") as caught:
        base_image.declared("oci:My Images.d", "")
    assert "one, two" in caught.value.hint
    with pytest.raises(UsageError, match="no image 'three'"):
        base_image.declared("oci:My Images.d:three", "")


def test_each_kind_of_machine_can_have_its_own_base(tmp_path: Path) -> None:
    recipe = catalog.find(Project(root=tmp_path), "base")
    given = {"image": {"gpu": "nvcr.io/nvidia/pytorch:24.01-py3"}, "bootstrap": {"cpu": "debian:trixie"}}

    def base(variant: Variant) -> Base:
        values = params.resolve(recipe, given, variant)
        return base_image.declared(str(values["image"]), str(values["bootstrap"]))

    assert (base("cpu").kind, base("cpu").reference) == ("bootstrap", "debian:trixie")
    assert (base("gpu").kind, base("gpu").reference) == ("registry", "nvcr.io/nvidia/pytorch:24.01-py3")


HERE = "linux/" + {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
DECLARED = Base(kind="registry", reference="docker.io/library/python:3.12")
LOCKED = evolve(DECLARED, digest=DIGEST, python="3.12.1", platform=HERE)


def test_the_lock_holds_for_a_tag_wherever_it_has_moved() -> None:
    assert base_image.holds(LOCKED, DECLARED)


@pytest.mark.parametrize(
    "base",
    [
        evolve(DECLARED, reference="docker.io/library/python:3.13"),
        evolve(DECLARED, kind="local"),
        evolve(DECLARED, digest="sha256:" + "cd" * 32),
    ],
)
def test_the_lock_does_not_hold_for_another_base(base: Base) -> None:
    assert not base_image.holds(LOCKED, base)


def test_the_lock_of_another_architecture_does_not_hold_here() -> None:
    assert not base_image.holds(evolve(LOCKED, platform="linux/s390x"), DECLARED)


def test_the_lock_does_not_hold_for_a_local_image_that_is_gone() -> None:
    local = Base(kind="local", reference="localhost/mine:latest")
    assert not base_image.holds(evolve(local, digest=DIGEST, platform=HERE), local)


@pytest.mark.parametrize(
    ("said", "message", "hint"),
    [
        ("dial tcp: lookup docker.io: no such host", "cannot be reached", "bootstrap ="),
        ("dial tcp 10.0.0.1:443: i/o timeout", "cannot be reached", "bootstrap ="),
        ("reading manifest 1 in docker.io/x: manifest unknown", "does not have", "look the name"),
        ("toomanyrequests: You have reached your pull rate limit", "cannot be pulled", "podman login docker.io"),
        ("requested access to the resource is denied", "cannot be pulled", "podman login docker.io"),
        ("x509: certificate signed by unknown authority", "cannot be pulled", "certs.d/docker.io/ca.crt"),
        ("http: server gave HTTP response to HTTPS client", "cannot be pulled", "insecure = true"),
        ("", "cannot be pulled", "bootstrap ="),
    ],
)
def test_a_failed_pull_is_told_with_what_helps(said: str, message: str, hint: str) -> None:
    fault = base_image.pull_fault(DECLARED, said and f"warning\nError: {said}")
    assert message in fault.message
    assert said in fault.message
    assert hint in fault.hint


def test_a_pinned_digest_that_is_gone_is_told_with_the_way_on() -> None:
    fault = base_image.pull_fault(LOCKED, "Error: manifest unknown")
    assert DIGEST in fault.message
    assert "ocicaliban.lock" in fault.hint
