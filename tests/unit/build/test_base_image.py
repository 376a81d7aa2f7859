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
    assert base_image.still_holds(LOCKED, DECLARED)


@pytest.mark.parametrize(
    "base",
    [
        evolve(DECLARED, reference="docker.io/library/python:3.13"),
        evolve(DECLARED, kind="local"),
        evolve(DECLARED, digest="sha256:" + "cd" * 32),
    ],
)
def test_the_lock_does_not_hold_for_another_base(base: Base) -> None:
    assert not base_image.still_holds(LOCKED, base)


def test_the_lock_of_another_architecture_does_not_hold_here() -> None:
    assert not base_image.still_holds(evolve(LOCKED, platform="linux/s390x"), DECLARED)


def test_the_lock_does_not_hold_for_a_local_image_that_is_gone() -> None:
    local = Base(kind="local", reference="localhost/mine:latest")
    assert not base_image.still_holds(evolve(local, digest=DIGEST, platform=HERE), local)
