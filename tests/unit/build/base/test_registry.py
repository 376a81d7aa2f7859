"""The names of images in registries, and what a failed pull means."""

from __future__ import annotations

import pytest
from attrs import evolve

from ocicaliban.build.base import registry
from ocicaliban.model.image import Base

DIGEST = "sha256:" + "ab" * 32
DECLARED = Base(kind="registry", reference="docker.io/library/python:3.12")


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
    assert registry.full_name(reference) == (name, digest)


@pytest.mark.parametrize(
    ("said", "message", "hint"),
    [
        ("dial tcp: lookup docker.io: no such host", "cannot be reached", "bootstrap ="),
        ("dial tcp 10.0.0.1:443: i/o timeout", "cannot be reached", "bootstrap ="),
        ("reading manifest 1 in docker.io/x: manifest unknown", "does not have", "check the name and the tag"),
        ("toomanyrequests: You have reached your pull rate limit", "cannot be pulled", "podman login docker.io"),
        ("requested access to the resource is denied", "cannot be pulled", "podman login docker.io"),
        ("x509: certificate signed by unknown authority", "cannot be pulled", "certs.d/docker.io/ca.crt"),
        ("http: server gave HTTP response to HTTPS client", "cannot be pulled", "insecure = true"),
        ("", "cannot be pulled", "bootstrap ="),
    ],
)
def test_a_failed_pull_is_told_with_what_helps(said: str, message: str, hint: str) -> None:
    fault = registry.pull_fault(DECLARED, said and f"warning\nError: {said}")
    assert message in fault.message
    assert said in fault.message
    assert hint in fault.hint


@pytest.mark.parametrize(
    ("suite", "hint"),
    [
        ("debian:bullseye", 'bootstrap = "debian:bullseye"'),
        ("", "without a registry there is no base with the Python that the project asks for"),
    ],
)
def test_without_a_registry_the_suite_with_the_right_python_is_proposed(suite: str, hint: str) -> None:
    fault = registry.pull_fault(DECLARED, "Error: dial tcp: lookup docker.io: no such host", suite)
    assert fault.hint.endswith(hint)


def test_a_pinned_digest_that_is_gone_is_told_with_the_way_on() -> None:
    fault = registry.pull_fault(evolve(DECLARED, digest=DIGEST), "Error: manifest unknown")
    assert DIGEST in fault.message
    assert "`ocicaliban lock --upgrade base`" in fault.hint
