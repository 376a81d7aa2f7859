"""A base image made of Debian's packages (`debian:SUITE`)."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

from ocicaliban.build.base.stored import platform
from ocicaliban.containers import buildah, image_store, oci_layout, user_ids, user_namespace, workspace
from ocicaliban.errors import ToolError, UsageError
from ocicaliban.model.image import Image
from ocicaliban.reporter import Reporter
from ocicaliban.system import process

_SUITE = r"debian:([a-z]+)"
# Compile byte code again, without time stamps: clamped times would make it stale, and some hold the current time.
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
    # It would create apt's folders again, whose owner depends on what the user _apt may read on this machine.
    "--skip=cleanup/apt",
    f"--customize-hook={_COMPILE}",
    f"--customize-hook={_CLEAN}",
)

_DEVICES = ('--extract-hook=mount --rbind /dev "$1/dev"', '--customize-hook=umount -l "$1/dev"')

_PACKAGES = "python3,python-is-python3,ca-certificates"
_MORE_PACKAGES = {"bullseye": "python3-distutils"}
"""What a Python of old needs before uv can install for it, by suite. Newer ones have it in their standard library."""


def check(reference: str) -> None:
    """Raise UsageError if `reference` is not debian:SUITE."""
    if not re.fullmatch(_SUITE, reference):
        raise UsageError(f"layers.base.bootstrap: '{reference}' is not debian:SUITE", "try debian:bookworm")


def fetch(reference: str, *, fresh: bool, reporter: Reporter) -> Image:
    """Return the image of `debian:SUITE`: the one in the store, or a new one if there is none or if `fresh` is true.

    As for a layer, its name in the store contains a key of what goes into it. If two processes want it, one makes it.
    """
    suite = reference.partition(":")[2]
    emulated = is_emulated()
    made_of = [reference, platform(), oci_layout.EPOCH, *_ENV, *_MMDEBSTRAP, _include(suite)]
    made_of += ["all files belong to root"] if emulated else []
    key = hashlib.sha256(json.dumps(made_of).encode()).hexdigest()
    before = image_store.find_layer("base", key)
    with workspace.exclusive(key):
        # An image that another process made while we waited is fresh enough.
        image = image_store.find_layer("base", key)
        if image is not None and (not fresh or before is None or image.id != before.id):
            reporter.say(f"base: using {reference} from the local store (--no-cache builds it again)")
            return image
        doing = f"bootstrapping {reference} from Debian's packages"
        if emulated:
            reporter.note(
                "base: all files belong to root, because containers have one uid;"
                " with fakechroot and fakeroot installed it would be the image of other users"
            )
        with reporter.making("base", doing, done="bootstrapped") as made:
            image = _bootstrap(suite, _command(emulated=emulated))
            made.measure = lambda: image_store.image_sizes().get(image.id, 0)
        buildah.tag(image.id, image_store.layer_name("base", key))
        return image


def _include(suite: str) -> str:
    """Return mmdebstrap's option for the packages in addition to the essential ones."""
    return f"--include={','.join(filter(None, [_PACKAGES, _MORE_PACKAGES.get(suite, '')]))}"


def is_emulated() -> bool:
    """Return whether all files of a base that is made here belong to root.

    fakechroot and fakeroot record the owners of files that mmdebstrap cannot set where containers have one uid.
    """
    return user_ids.one_uid() and not all(map(process.on_path, ("fakechroot", "fakeroot")))


def _command(*, emulated: bool) -> tuple[str, ...]:
    """Return mmdebstrap's command line without the suite and the tar; `emulated` in a namespace with one uid."""
    if not emulated:
        return (*_MMDEBSTRAP, "--mode=fakechroot") if user_ids.one_uid() else _MMDEBSTRAP
    # It is root there, and may neither make devices nor mount some of what it wants.
    options = ("--mode=root", "--skip=chroot/mount/dev,output/dev,output/mknod", *_DEVICES)
    return user_namespace.with_one_user((*_MMDEBSTRAP, *options, '--aptopt=APT::Sandbox::User "root"'))


def _bootstrap(suite: str, command: tuple[str, ...]) -> Image:
    """Make the image with mmdebstrap."""
    with workspace.open_workspace() as folder:
        tar = folder / "root.tar"
        env = {"SOURCE_DATE_EPOCH": str(oci_layout.EPOCH), "TMPDIR": str(workspace.scratch_folder(folder))}
        try:
            process.run((*command, _include(suite), suite, str(tar)), env=env)
        except ToolError as exc:
            raise _bootstrap_fault(suite, exc) from exc
        with tar.open("rb") as file:
            sha = hashlib.file_digest(file, "sha256").hexdigest()
        blob = oci_layout.Blob(digest=f"sha256:{sha}", size=tar.stat().st_size)
        layout = folder / image_store.layer_folder("base", sha)
        oci_layout.adopt_layer(layout, tar, blob)
        config: dict[str, Any] = {
            "architecture": platform().partition("/")[2],
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
        hint = "check that deb.debian.org can be reached; http_proxy names a proxy"
    return ToolError(f"Debian's {suite} cannot be bootstrapped\n{why}", hint, stderr=exc.stderr)
