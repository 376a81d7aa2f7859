"""Resolve Debian packages as apt does in the base image, which nothing changes."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

from ocicaliban import hints
from ocicaliban.build import base_image
from ocicaliban.containers import buildah, user_ids, workspace
from ocicaliban.dependencies import host_settings
from ocicaliban.dependencies.apt import packages as apt_packages
from ocicaliban.errors import OcicalibanError
from ocicaliban.model.image import Base
from ocicaliban.project.lockfile import Resolution
from ocicaliban.registry.reference import Repository
from ocicaliban.reporter import Reporter
from ocicaliban.system import files

_SCRIPT = Path(__file__).with_name("debian_resolution.sh")
_OUT = "/dev/oc-out"


def inputs_digest(base: Base, names: tuple[str, ...]) -> str:
    """Return a digest of all that a resolution depends on, apart from what the archives have."""
    parts = ["apt 1", base.digest, base.platform, *names]
    return f"sha256:{hashlib.sha256(json.dumps(parts).encode()).hexdigest()}"


def resolve(base: Base, names: tuple[str, ...], reporter: Reporter, published: Repository | None) -> Resolution:
    """Return the packages that apt would install into the base image, with the hashes in the archives' signed lists.

    The base may be in the repository `published`. Raises ToolError with what apt says if they cannot be installed, or
    if an archive does not answer.
    """
    image = base_image.ensure(base, reporter=reporter, published=published)
    name = f"ocicaliban-apt-{os.getpid()}"
    with (
        workspace.open_workspace() as folder,
        workspace.working_container(folder, name),
        reporter.making("apt", f"resolving {', '.join(names[:3])}{', ...' if names[3:] else ''}", done="resolved"),
    ):
        seen, out = folder / "apt", folder / "apt-out"
        for place in (seen, out):
            place.mkdir(mode=0o700)
        (seen / "script").write_text(_SCRIPT.read_text())
        bundle = host_settings.read_host_settings().ca_bundle
        if bundle:
            (seen / "ca.crt").write_bytes(bundle.read_bytes())
        if proxies := host_settings.apt_proxies():
            (seen / "apt.conf").write_text(proxies)
        buildah.make_container(image.id, name, one_user=user_ids.one_uid())
        with hints.explaining("build", has_packages=True):
            buildah.run_step(
                buildah.run_argv(name, seen, (f"{out}:{_OUT}",), (("PACKAGES", " ".join(names)),)),
                doing="the Debian packages cannot be resolved",
                hint="check their names; `[layers.apt] lock = false` installs what there is when the image is built",
            )
        texts = [(out / part).read_text(encoding="utf-8", errors="replace") for part in ("uris", "records", "releases")]
    try:
        found = apt_packages.found(*texts)
    except ValueError as exc:
        raise OcicalibanError(
            f"the archive of the Debian package {exc} has no SHA-256 for it", "[layers.apt] lock = false"
        ) from exc
    if bad := apt_packages.not_for_a_lock(found):
        raise OcicalibanError(
            f"ocicaliban.lock cannot describe the Debian package {bad.name}={bad.version} of the archive {bad.archive}",
            "[layers.apt] lock = false",
        )
    inputs, text = inputs_digest(base, names), apt_packages.to_text(found)
    files.keep(_memo(inputs), text)
    return Resolution(inputs=inputs, requirements=text)


def remembered(inputs: str) -> Resolution | None:
    """Return what was last resolved here from these inputs, for a project that cannot keep a lock; None for nothing."""
    try:
        return Resolution(inputs=inputs, requirements=_memo(inputs).read_text())
    except OSError:
        return None


def _memo(inputs: str) -> Path:
    return files.cache() / "debian" / "resolved" / inputs.removeprefix("sha256:")
