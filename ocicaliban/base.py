"""The image at the bottom: pulled, found or bootstrapped, and what is known of it."""

from __future__ import annotations

import hashlib
import json
import os
import re

from ocicaliban import buildah, oci, proc, store, workplace
from ocicaliban.errors import OcicalibanError, ToolError, UsageError
from ocicaliban.model import Base, Image

_SUITE = re.compile(r"debian:([a-z]+)")


def declared(image: str, bootstrap: str) -> Base:
    """The base that the recipe's parameters ask for, not resolved yet."""
    if bootstrap:
        if not _SUITE.fullmatch(bootstrap):
            raise UsageError(f"layers.base.bootstrap: '{bootstrap}' is not debian:SUITE", "try debian:bookworm")
        return Base(kind="bootstrap", reference=bootstrap)
    if image.startswith(("oci:", "oci-archive:")):
        return Base(kind="archive", reference=image)
    if image.startswith(("localhost/", "containers-storage:")):
        return Base(kind="local", reference=image.removeprefix("containers-storage:"))
    return Base(kind="registry", reference=image)


def present(base: Base) -> Image | None:
    """The base's image in the local store, or None."""
    for image in store.images():
        if base.digest and base.digest in (image.digest, f"sha256:{image.id}"):
            return image
    return None


def ensure(base: Base) -> Image:
    """The base's image, made or fetched where it is missing.

    Raises OcicalibanError when it cannot be had, with the way round (`bootstrap`) where a registry is out of reach.
    """
    if image := present(base):
        return image
    if base.kind == "bootstrap":
        identity = _bootstrap(_SUITE.fullmatch(base.reference)[1])  # type: ignore[index]
    elif base.kind == "local":
        identity = proc.run(
            ("podman", "image", "inspect", "--format", "{{.Id}}", base.reference),
            doing=f"there is no local image '{base.reference}'",
        )
    else:
        reference = base.reference
        if base.kind == "registry" and base.digest:
            reference = f"{re.sub(r'(:[^/:]+)?(@.*)?$', '', reference)}@{base.digest}"
        try:
            identity = proc.run(("buildah", "pull", "--quiet", reference)).splitlines()[-1]
        except ToolError as exc:
            why = exc.stderr.splitlines()[-1] if exc.stderr else ""
            raise OcicalibanError(
                f"the base image {base.reference} cannot be pulled\n{why}",
                "is the registry within reach? Without one, make the base from Debian's packages:\n"
                '       [layers.base]\n       bootstrap = "debian:bookworm"',
            ) from exc
    image = next((known for known in store.images() if known.id == identity), None)
    if image is None:
        raise OcicalibanError(f"the base image {base.reference} vanished from the store", "run the command again")
    if base.digest and base.kind == "bootstrap" and base.digest != image.digest:
        raise OcicalibanError(
            f"{base.reference} bootstraps to another image than the one in ocicaliban.lock: its packages moved on",
            "remove [base] from ocicaliban.lock to take the new ones",
        )
    return image


def resolved(base: Base) -> Base:
    """`base` with its digest, the Python in it and its platform filled in; fetches or makes it when missing."""
    image = ensure(base)
    info = json.loads(proc.run(("buildah", "inspect", "--type", "image", image.id)))["OCIv1"]
    return Base(
        kind=base.kind,
        reference=base.reference,
        digest=image.digest,
        python=_python(image),
        platform=f"{info.get('os', 'linux')}/{info['architecture']}",
    )


def _python(image: Image) -> str:
    script = "python3 -c 'import platform; print(platform.python_version())'"
    name = f"ocicaliban-base-{os.getpid()}"
    with workplace.open_one() as folder, workplace.working_container(folder, name):
        proc.run(buildah.from_argv(image.id, name), whole=True)
        return proc.run(
            ("buildah", "run", "--isolation", "chroot", name, "--", "sh", "-c", script),
            doing=f"the base image {image.names[0] if image.names else image.id[:12]} has no python3",
            hint="choose a base with Python in it, or add the package with bootstrap",
        )


def _bootstrap(suite: str) -> str:
    """Make the image from Debian's packages with mmdebstrap; returns its id.

    Byte code is compiled anew without time stamps, so that clamped times do not make it stale.
    """
    with workplace.open_one() as folder:
        tar = folder / "root.tar"
        compile_ = (
            'chroot "$1" sh -c "find /usr/lib -name __pycache__ -prune -exec rm -rf {} +; '
            'python3 -m compileall -qf --invalidation-mode unchecked-hash /usr/lib/python3*"'
        )
        clean = (
            'rm -rf "$1"/var/log/* "$1"/var/cache/ldconfig/aux-cache "$1"/var/lib/apt/lists/* '
            '"$1"/var/cache/apt/*.bin "$1"/etc/resolv.conf "$1"/etc/hostname'
        )
        proc.run(
            (
                "mmdebstrap",
                "--variant=minbase",
                "--include=python3,ca-certificates",
                f"--customize-hook={compile_}",
                f"--customize-hook={clean}",
                suite,
                str(tar),
            ),
            env={"SOURCE_DATE_EPOCH": str(oci.EPOCH), "TMPDIR": os.environ.get("TMPDIR", "/tmp")},
            doing=f"Debian's {suite} cannot be bootstrapped",
        )
        sha = hashlib.file_digest(tar.open("rb"), "sha256").hexdigest()
        blob = oci.Blob(digest=f"sha256:{sha}", size=tar.stat().st_size)
        layout = folder / store.folder_for("base", sha)
        oci.adopt_layer(layout, tar, blob)
        architecture = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
        config = {
            "architecture": architecture,
            "os": "linux",
            "config": {"Env": ["PATH=/usr/local/bin:/usr/bin:/bin"], "Cmd": ["/bin/sh"]},
        }
        config = oci.appended(config, blob.digest, f"ocicaliban base: mmdebstrap {suite}")
        oci.write_layout(layout, config, [blob])
        return store.take(folder, "base", sha).id
