"""A base image in a registry."""

from __future__ import annotations

import re

from ocicaliban.build.base.stored import stored_image
from ocicaliban.containers import buildah, image_store
from ocicaliban.errors import OcicalibanError, ToolError, UsageError
from ocicaliban.model.image import Base, Image
from ocicaliban.reporter import Reporter

# Patterns are compiled when they are used first: most commands need none of them.
_NAME = r"[A-Za-z0-9.-]+(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)+(:[A-Za-z0-9_][A-Za-z0-9._-]*)?"
_DIGEST = r"sha256:[0-9a-f]{64}"
USUAL_SUITE = "debian:bookworm"


def _without_registry(suite: str) -> str:
    """Return what to do without a registry; `suite` is the one to bootstrap, "" if none has the right Python."""
    if not suite:
        return "without a registry there is no base with the Python that the project asks for"
    return (
        "without a registry, make the base from Debian's packages, in ocicaliban.toml in the project's folder:\n"
        f'[layers.base]\nbootstrap = "{suite}"'
    )


def full_name(reference: str) -> tuple[str, str]:
    """Return the full name of an image and its digest ("" if it has none), as docker and podman complete it.

    For example, "python:3.12" is docker.io/library/python:3.12. Raises UsageError if `reference` is not a valid name.
    """
    name, at, digest = reference.partition("@")
    first, slash, _ = name.partition("/")
    if not slash:
        name = f"docker.io/library/{name}"
    elif first != "localhost" and not set(".:") & set(first):
        name = f"docker.io/{name}"
    transport = reference.startswith(("docker-archive:", "docker-daemon:", "dir:"))
    if transport or not re.fullmatch(_NAME, name) or (at and not re.fullmatch(_DIGEST, digest)):
        raise UsageError(
            f"layers.base.image: '{reference}' does not name an image",
            "for example python:3.12-slim-bookworm, localhost/NAME, NAME@sha256:..., oci:DIR or oci-archive:FILE",
        )
    return (name if at or ":" in name.rpartition("/")[2] else f"{name}:latest"), digest


def fetch(base: Base, *, fresh: bool, reporter: Reporter, suite: str = USUAL_SUITE) -> tuple[Image, str]:
    """Return the image and its manifest's digest. Pull it unless the store has the tag and `fresh` is false.

    Raises OcicalibanError with a hint if it cannot be pulled: to bootstrap `suite`, if that has the right Python.
    """
    reference = base.reference
    if base.digest:
        reference = f"{re.sub(':[^:/]+$', '', reference)}@{base.digest}"
    elif not fresh and (image := image_store.by_name(reference)):
        reporter.say(f"base: using {reference} from the local store (--no-cache pulls it again)")
        return image, image_store.last_manifest(image.id)
    try:
        with reporter.making("base", f"pulling {reference}", done="pulled") as made:
            identity = buildah.pull(reference)
            made.measure = lambda: image_store.image_sizes().get(identity, 0)
    except ToolError as exc:
        raise pull_fault(base, exc.stderr, suite) from exc
    return stored_image(identity, base.reference), base.digest or image_store.last_manifest(identity)


_NO_ANSWER = (
    "connection refused|no such host|i/o timeout|unreachable|no route to host|handshake timeout|deadline exceeded"
    "|server misbehaving|name resolution|connection reset|proxyconnect|http status: 50[234]"
)


def pull_fault(base: Base, stderr: str, suite: str = USUAL_SUITE) -> OcicalibanError:
    """Return the error for a failed pull, from what buildah wrote to stderr; pure. `suite` can be bootstrapped."""
    why = stderr.splitlines()[-1].removeprefix("Error: ") if stderr else "buildah did not say why"
    said = why.lower()
    host = base.reference.partition("/")[0]
    if re.search(_NO_ANSWER, said):
        return OcicalibanError(
            f"the registry of the base image {base.reference} cannot be reached\n{why}",
            f"check that this machine can reach {host}; {_without_registry(suite)}",
        )
    message, hint = f"the base image {base.reference} cannot be pulled", f"check the name; {_without_registry(suite)}"
    if "manifest unknown" in said or "name unknown" in said or "not found" in said:
        message = f"{host} does not have the base image {base.reference}"
        if base.digest:
            message += f"\nwith the digest {base.digest}"
            hint = "`ocicaliban lock --upgrade base` takes what is there now, unless ocicaliban.toml names the digest"
        else:
            hint = "check the name and the tag"
    elif "toomanyrequests" in said or "rate limit" in said:
        hint = f"wait, or log in: podman login {host}"
    elif "unauthorized" in said or "denied" in said or "authentication required" in said:
        hint = f"check the name; if the image is not public: podman login {host}"
    elif "x509" in said or "certificate" in said:
        hint = f"put the certificate of the registry's CA at ~/.config/containers/certs.d/{host}/ca.crt"
    elif "http response to https client" in said:
        hint = (
            "the registry does not use TLS; to trust it anyway, in ~/.config/containers/registries.conf:\n"
            f'[[registry]]\nlocation = "{host}"\ninsecure = true'
        )
    return OcicalibanError(f"{message}\n{why}", hint)
