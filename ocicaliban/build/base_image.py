"""The image at the bottom: pulled, found, unpacked or bootstrapped, and what is known of it.

`Base.digest` is what an image is known by where it comes from: the manifest's digest for one of a registry or an
archive, the image's id (its config's digest) for a local or bootstrapped one. Of a manifest list it is the manifest
of this machine's platform: the list changes with every platform's image, and the dependencies are locked for one
platform anyhow. A user who wants the list itself writes NAME@sha256:... .
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from attrs import evolve

from ocicaliban.containers import buildah, image_store, oci_layout, workspace
from ocicaliban.errors import OcicalibanError, ToolError, UsageError
from ocicaliban.model.image import Base, Image
from ocicaliban.reporter import SILENT, Reporter
from ocicaliban.system import process

# Patterns are compiled where they are used first: most commands need none of them.
_SUITE = r"debian:([a-z]+)"
_NAME = r"[A-Za-z0-9.-]+(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)+(:[A-Za-z0-9_][A-Za-z0-9._-]*)?"
_DIGEST = r"sha256:[0-9a-f]{64}"
_WITHOUT_REGISTRY = (
    "without a registry, make the base from Debian's packages, in ocicaliban.toml in the project's folder:\n"
    '       [layers.base]\n       bootstrap = "debian:bookworm"'
)


def declared(image: str, bootstrap: str) -> Base:
    """The base that the recipe's parameters ask for; `bootstrap` wins.

    Only what can be seen at once is filled in: the digest that the user gave, that of an archive (its path is relative
    to the current folder, the project's), or that of a local image. Raises UsageError for what names no image.
    """
    if bootstrap:
        if not re.fullmatch(_SUITE, bootstrap):
            raise UsageError(f"layers.base.bootstrap: '{bootstrap}' is not debian:SUITE", "try debian:bookworm")
        return Base(kind="bootstrap", reference=bootstrap)
    if image.startswith(("oci:", "oci-archive:")):
        return Base(kind="archive", reference=image, digest=_archived(image)[2])
    local = image.removeprefix("containers-storage:")
    name, digest = full_name(local.removeprefix("docker://"))
    if local != image or name.startswith("localhost/"):
        found = image_store.by_name(name)
        return Base(kind="local", reference=name, digest=f"sha256:{found.id}" if found else "")
    return Base(kind="registry", reference=name, digest=digest)


def full_name(reference: str) -> tuple[str, str]:
    """A reference as docker and podman complete it ("python:3.12" is docker.io/library/python:3.12), and its digest.

    Raises UsageError where it is none.
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


def holds(locked: Base, base: Base) -> bool:
    """Whether what the lock says still is the declared `base`, on a machine such as this."""
    return (
        (locked.kind, locked.reference, locked.platform) == (base.kind, base.reference, _platform())
        and base.digest in ("", locked.digest)
        and (base.kind != "local" or base.digest != "")
    )


def _platform() -> str:
    machine = os.uname().machine
    return "linux/" + {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)


def present(base: Base) -> Image | None:
    """The base's image in the local store, or None."""
    return image_store.by_digest(base.digest) if base.digest else None


def ensure(base: Base, *, reporter: Reporter = SILENT) -> Image:
    """The image of a base with a digest, made or fetched where it is missing.

    Raises OcicalibanError when it cannot be had, with the way round (`bootstrap`) where a registry is out of reach.
    """
    return present(base) or _made(base, fresh=True, reporter=reporter)[0]


def resolved(base: Base, *, fresh: bool = False, reporter: Reporter = SILENT) -> Base:
    """`base` with its digest, the Python in it and its platform filled in; fetches or makes it when missing.

    What the store has under the tag, or bootstrapped of the suite, is taken as it is unless `fresh`.
    Raises OcicalibanError when it cannot be had, or nothing of Python can be built upon it.
    """
    image = present(base)
    digest = base.digest
    if image is None:
        image, digest = _made(base, fresh=fresh, reporter=reporter)
    image_store.mark_used(image.id)
    config = image_store.image_config(image)
    platform = f"{config.get('os', 'linux')}/{config.get('architecture')}"
    if platform != _platform():
        raise OcicalibanError(
            f"the base image {base.reference} is for {platform}, this machine is {_platform()}",
            "choose an image for this machine",
        )
    if (config.get("config") or {}).get("OnBuild"):
        raise OcicalibanError(
            f"the base image {base.reference} has ONBUILD instructions, which would run in every layer upon it",
            "choose one without",
        )
    python, libc = _python(image, base.reference)
    return evolve(base, digest=digest, platform=platform, python=python, libc=libc)


def _made(base: Base, *, fresh: bool, reporter: Reporter) -> tuple[Image, str]:
    """The image of a base that is not there, and its digest."""
    if base.kind == "bootstrap":
        image = _bootstrapped(base.reference, fresh=fresh, reporter=reporter)
        digest = f"sha256:{image.id}"
        if base.digest not in ("", digest):
            raise OcicalibanError(
                f"{base.reference} bootstraps to another image than the one in ocicaliban.lock: its packages moved on",
                "remove [base] from ocicaliban.lock to take the new ones",
            )
        return image, digest
    if base.kind == "local":
        raise OcicalibanError(
            f"there is no local image '{base.reference}'",
            "`podman images` lists them; it is never pulled, for that leave localhost/ or containers-storage: away",
        )
    if base.kind == "archive":
        return _unpacked(base.reference, base.digest)
    return _pulled(base, fresh=fresh, reporter=reporter)


def _pulled(base: Base, *, fresh: bool, reporter: Reporter) -> tuple[Image, str]:
    reference = base.reference
    if base.digest:
        reference = f"{re.sub(':[^:/]+$', '', reference)}@{base.digest}"
    elif not fresh and (image := image_store.by_name(reference)):
        reporter.say(f"base: {reference} as it is in the store (anew: --no-cache)")
        return image, image_store.last_manifest(image.id)
    try:
        with reporter.making("base", f"pulling {reference}", done="pulled") as made:
            identity = buildah.pull(reference)
            made.measure = lambda: image_store.image_sizes().get(identity, 0)
    except ToolError as exc:
        raise pull_fault(base, exc.stderr) from exc
    return _there(identity, base.reference), base.digest or image_store.last_manifest(identity)


def _there(identity: str, reference: str) -> Image:
    if image := image_store.by_digest(f"sha256:{identity}"):
        return image
    raise OcicalibanError(f"the base image {reference} vanished from the store", "run the command again")


_NO_ANSWER = (
    "connection refused|no such host|i/o timeout|unreachable|no route to host|handshake timeout|deadline exceeded"
    "|server misbehaving|name resolution|connection reset|proxyconnect|http status: 50[234]"
)


def pull_fault(base: Base, stderr: str) -> OcicalibanError:
    """What buildah's words about a failed pull mean to a user, and what helps. Pure."""
    why = stderr.splitlines()[-1].removeprefix("Error: ") if stderr else "buildah did not say why"
    said = why.lower()
    host = base.reference.partition("/")[0]
    if re.search(_NO_ANSWER, said):
        return OcicalibanError(
            f"the registry of the base image {base.reference} cannot be reached\n{why}",
            f"is {host} within reach of this machine? {_WITHOUT_REGISTRY}",
        )
    message, hint = f"the base image {base.reference} cannot be pulled", f"look at the name; {_WITHOUT_REGISTRY}"
    if "manifest unknown" in said or "name unknown" in said or "not found" in said:
        message = f"{host} does not have the base image {base.reference}"
        if base.digest:
            message += f"\nwith the digest {base.digest}"
            hint = "remove [base] from ocicaliban.lock (or the digest from ocicaliban.toml) to take what is there now"
        else:
            hint = "look the name and the tag up in the registry"
    elif "toomanyrequests" in said or "rate limit" in said:
        hint = f"wait, or log in: podman login {host}"
    elif "unauthorized" in said or "denied" in said or "authentication required" in said:
        hint = f"look at the name; if the image is not public: podman login {host}"
    elif "x509" in said or "certificate" in said:
        hint = f"put the certificate of the registry's authority at ~/.config/containers/certs.d/{host}/ca.crt"
    elif "http response to https client" in said:
        hint = (
            "the registry has no TLS; to trust it all the same, in ~/.config/containers/registries.conf:\n"
            f'       [[registry]]\n       location = "{host}"\n       insecure = true'
        )
    return OcicalibanError(f"{message}\n{why}", hint)


@contextmanager
def _opened(path: Path) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(path) as tar:
            yield tar
    except (tarfile.TarError, EOFError) as exc:
        hint = "make one: podman save --format oci-archive -o FILE IMAGE"
        raise UsageError(f"layers.base.image: {path} is not an OCI archive", hint) from exc


def _archived(reference: str) -> tuple[Path, str, str]:
    """The path of oci:... or oci-archive:..., the image's own name in it ("" for the only one), its manifest's digest.

    Raises UsageError where there is no such image.
    """
    transport, _, rest = reference.partition(":")
    path, name = Path(rest), ""
    if not path.exists() and ":" in rest:
        path, name = Path(rest.rpartition(":")[0]), rest.rpartition(":")[2]
    if not (path.is_dir() if transport == "oci" else path.is_file()):
        what = "folder" if transport == "oci" else "file"
        raise UsageError(f"layers.base.image: there is no {what} '{rest}'", "the path is relative to the project")
    try:
        if transport == "oci":
            index = json.loads((path / "index.json").read_text())
        else:
            with _opened(path) as tar:
                member = next((m for m in tar if m.name.removeprefix("./") == "index.json" and m.isfile()), None)
                file = tar.extractfile(member) if member else None
                index = json.loads(file.read()) if file else {}
        manifests = {m["digest"]: (m.get("annotations") or {}).get(_REF, "") for m in index["manifests"]}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as exc:
        what = f"layers.base.image: {path} holds no OCI image"
        raise UsageError(what, "its index.json is missing or broken") from exc
    found = [digest for digest, own in manifests.items() if not name or own == name]
    if len(found) != 1:
        known = ", ".join(filter(None, manifests.values())) or "none has a name"
        word = f"no image '{name}'" if name and not found else f"{len(found)} images"
        raise UsageError(f"layers.base.image: {path} holds {word}", f"name one: {transport}:{path}:NAME ({known})")
    return path, name, found[0]


_REF = "org.opencontainers.image.ref.name"
_PART = r"(\./)?(index\.json|oci-layout|blobs/sha256/[0-9a-f]{64})"


def _unpacked(reference: str, digest: str) -> tuple[Image, str]:
    """Store the image of an archive; under a name of ours, for its own may be another image's here."""
    path, name, now = _archived(reference)
    if digest not in ("", now):
        raise OcicalibanError(
            f"{path} changed: it no longer holds the image with the digest {digest}", "run the command again"
        )
    with workspace.open_workspace() as folder:
        # buildah names the image after the path, and refuses upper case, blanks and dots in it.
        layout = folder / image_store.layer_folder("base", now.removeprefix("sha256:"))
        layout.parent.mkdir(parents=True)
        if path.is_dir():
            layout.symlink_to(path.resolve())
        else:
            (layout / "blobs" / "sha256").mkdir(parents=True)
            with _opened(path) as tar:
                for member in tar:
                    if member.isfile() and (match := re.fullmatch(_PART, member.name)):
                        _copy(tar.extractfile(member), layout / match[2])
        oci = f"{layout.relative_to(folder)}{':' + name if name else ''}"
        identity = buildah.pull_layout(folder, oci, doing=f"the base image {reference} cannot be stored")
    return _there(identity, reference), now


def _copy(source: IO[bytes] | None, target: Path) -> None:
    assert source is not None
    with source, target.open("wb") as file:
        shutil.copyfileobj(source, file)


_PROBE = """
import platform, sysconfig, venv
print(platform.python_version(), sysconfig.get_config_var("HOST_GNU_TYPE") or "?", platform.libc_ver()[1])
"""


def _python(image: Image, reference: str) -> tuple[str, str]:
    """The version of the Python in the image, and of the C library that it stands on."""
    name = f"ocicaliban-base-{os.getpid()}"
    with workspace.open_workspace() as folder, workspace.working_container(folder, name):
        buildah.make_container(image.id, name)
        probe = ("python3", "-c", _PROBE)
        try:
            # buildah's chroot isolation was seen to lose what a command printed, once in some hundred runs.
            said = buildah.run_in_chroot(name, probe) or buildah.run_in_chroot(name, probe)
        except ToolError as exc:
            if "No module named 'venv'" in exc.stderr:
                what, hint = "Python without its module venv", "add it: on Debian it is the package python3-venv"
            else:
                what, hint = "no python3 that starts", "choose a base with Python in it"
            why = exc.stderr.splitlines()[-1] if exc.stderr else ""
            raise ToolError(f"the base image {reference} has {what}\n{why}".rstrip(), hint, stderr=exc.stderr) from exc
    version, host, libc, *_ = [*said.rpartition("\n")[2].split(), "", "", ""]
    if not version[:1].isdigit():
        raise OcicalibanError(f"the python3 of the base image {reference} did not tell its version", "try again")
    if "musl" in host:
        raise OcicalibanError(
            f"the base image {reference} stands on musl (Alpine), on which Python's usual wheels do not run",
            "choose one on glibc, such as docker.io/library/python:3.12-slim-bookworm",
        )
    return version, libc


# Byte code is compiled anew without time stamps: clamped times would make it stale, and some bear that of the moment.
_COMPILE = (
    'chroot "$1" sh -c "find /usr/lib /usr/share -name __pycache__ -prune -exec rm -rf {} +; '
    'python3 -m compileall -qf --invalidation-mode unchecked-hash /usr/lib/python3*"'
)
_CLEAN = (
    'rm -rf "$1"/var/log/* "$1"/var/cache/ldconfig/aux-cache "$1"/var/lib/apt/lists/* '
    '"$1"/var/cache/apt/* "$1"/etc/resolv.conf "$1"/etc/hostname'
)
_ENV = ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]
_MMDEBSTRAP = (
    "mmdebstrap",
    "--variant=minbase",
    "--include=python3,ca-certificates",
    # It would make apt's folders again, of which the owner depends on what the user _apt may read on this machine.
    "--skip=cleanup/apt",
    f"--customize-hook={_COMPILE}",
    f"--customize-hook={_CLEAN}",
)


def _bootstrapped(reference: str, *, fresh: bool, reporter: Reporter) -> Image:
    """The image of `debian:SUITE`: the one in the store, unless `fresh`, or a new one.

    It is found under a name of what goes into it, as a layer is; of two processes that want it, one makes it.
    """
    key = hashlib.sha256(
        json.dumps([reference, _platform(), oci_layout.EPOCH, *_ENV, *_MMDEBSTRAP]).encode()
    ).hexdigest()
    before = image_store.find_layer("base", key)
    with workspace.exclusive(key):
        # What another process made while we waited is fresh enough.
        image = image_store.find_layer("base", key)
        if image is not None and (not fresh or before is None or image.id != before.id):
            reporter.say(f"base: {reference} as it is in the store (anew: --no-cache)")
            return image
        doing = f"bootstrapping {reference} from Debian's packages"
        with reporter.making("base", doing, done="bootstrapped") as made:
            image = _bootstrap(reference.partition(":")[2])
            made.measure = lambda: image_store.image_sizes().get(image.id, 0)
        buildah.tag(image.id, image_store.layer_name("base", key))
        return image


def _bootstrap(suite: str) -> Image:
    """Make the image from Debian's packages with mmdebstrap."""
    with workspace.open_workspace() as folder:
        tar = folder / "root.tar"
        env = {"SOURCE_DATE_EPOCH": str(oci_layout.EPOCH), "TMPDIR": str(workspace.scratch_folder(folder))}
        try:
            process.run((*_MMDEBSTRAP, suite, str(tar)), env=env)
        except ToolError as exc:
            raise _bootstrap_fault(suite, exc) from exc
        with tar.open("rb") as file:
            sha = hashlib.file_digest(file, "sha256").hexdigest()
        blob = oci_layout.Blob(digest=f"sha256:{sha}", size=tar.stat().st_size)
        layout = folder / image_store.layer_folder("base", sha)
        oci_layout.adopt_layer(layout, tar, blob)
        config: dict[str, Any] = {
            "architecture": _platform().partition("/")[2],
            "os": "linux",
            "config": {"Env": _ENV, "Cmd": ["/bin/sh"]},
        }
        config = oci_layout.with_layer(config, blob.digest, f"ocicaliban base: mmdebstrap {suite}")
        oci_layout.write_layout(layout, config, [blob])
        return image_store.import_layer(folder, "base", sha)


def _bootstrap_fault(suite: str, exc: ToolError) -> ToolError:
    why = "\n".join(line for line in exc.stderr.splitlines() if line.startswith(("E: ", "Err:", "W: "))) or exc.stderr
    if "does not have a Release file" in why and "404" in exc.stderr:
        return ToolError(f"Debian has no suite '{suite}'", "for example debian:bookworm or debian:trixie", stderr=why)
    hint = exc.hint
    if "NO_PUBKEY" in exc.stderr:
        hint = "install the package debian-archive-keyring"
    elif re.search("Could not (resolve|connect)|Temporary failure|Connection failed|timed out", exc.stderr):
        hint = "is deb.debian.org within reach? a proxy is taken from http_proxy"
    return ToolError(f"Debian's {suite} cannot be bootstrapped\n{why}", hint, stderr=exc.stderr)
