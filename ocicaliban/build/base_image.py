"""The base image of a plan: what it is, whether the store has it, and how to get it.

`Base.digest` identifies an image at its source: the manifest's digest for one in a registry or an archive, the image's
id (its config's digest) for a local or bootstrapped one. For a manifest list it is the manifest of this machine's
platform. The list changes with every platform's image, and the dependencies are locked for one platform anyway. To pin
the list itself, users write NAME@sha256:... .
"""

from __future__ import annotations

from attrs import evolve

from ocicaliban.build.base import registry
from ocicaliban.build.base.stored import platform
from ocicaliban.containers import image_store, layer_cache
from ocicaliban.errors import OcicalibanError
from ocicaliban.model.image import Base, Image
from ocicaliban.registry.reference import Repository
from ocicaliban.reporter import SILENT, Reporter


def declared(image: str, bootstrap_from: str) -> Base:
    """Return the base image that the parameters `image` and `bootstrap` of its recipe ask for; `bootstrap` wins.

    Its digest is filled in if it is known without fetching anything: if the user gives it, or for an archive (its path
    is relative to the current folder) or a local image. Raises UsageError if no image can have this name.
    """
    if bootstrap_from:
        from ocicaliban.build.base import bootstrap

        bootstrap.check(bootstrap_from)
        return Base(kind="bootstrap", reference=bootstrap_from)
    if image.startswith(("oci:", "oci-archive:")):
        from ocicaliban.build.base import archive

        return Base(kind="archive", reference=image, digest=archive.locate(image)[2])
    local = image.removeprefix("containers-storage:")
    name, digest = registry.full_name(local.removeprefix("docker://"))
    if local != image or name.startswith("localhost/"):
        stored = image_store.by_name(name)
        return Base(kind="local", reference=name, digest=f"sha256:{stored.id}" if stored else "")
    return Base(kind="registry", reference=name, digest=digest)


def still_holds(locked: Base, base: Base) -> bool:
    """Whether the locked base is the declared `base`, on a machine like this one."""
    return (
        (locked.kind, locked.reference, locked.platform) == (base.kind, base.reference, platform())
        and base.digest in ("", locked.digest)
        and (base.kind != "local" or base.digest != "")
    )


def present(base: Base) -> Image | None:
    """Return the base's image in the local store, or None."""
    return image_store.by_digest(base.digest) if base.digest else None


def ensure(base: Base, *, reporter: Reporter = SILENT, published: Repository | None = None) -> Image:
    """Return the image of a base with a digest, and fetch or make it if the store lacks it.

    One that no registry has under a name of its own may be in the repository that the project's images are `published`
    in. Raises OcicalibanError if that fails, with an alternative as the hint if a registry cannot be reached.
    """
    key = base.digest.removeprefix("sha256:")
    if image := present(base) or layer_cache.find("base", key):
        return image
    image = _from_published(base, published, reporter) or _fetched(base, fresh=True, reporter=reporter)[0]
    layer_cache.keep(image, "base", key, reporter.warning)
    return image


def _from_published(base: Base, repository: Repository | None, reporter: Reporter) -> Image | None:
    if repository is None or base.kind not in ("bootstrap", "local"):
        return None
    from ocicaliban.build.base import published

    return published.fetch(base, repository, reporter)


def resolved(
    base: Base,
    *,
    fresh: bool = False,
    own_python: bool = True,
    suite: str = registry.USUAL_SUITE,
    reporter: Reporter = SILENT,
) -> Base:
    """Return `base` with its digest, its Python and its platform; fetch or make the image if the store lacks it.

    Takes what the store has under the tag, or has bootstrapped from the suite, unless `fresh`. With `own_python` False
    the image needs no Python, and the base's `python` is empty if it has none. Raises OcicalibanError if the image
    cannot be fetched or made, or if it does not suit; NoPython if it only lacks a Python. The hint for a registry that
    cannot be reached names `suite`.
    """
    image = present(base) or (layer_cache.find("base", base.digest.removeprefix("sha256:")) if base.digest else None)
    digest = base.digest
    if image is None:
        image, digest = _fetched(base, fresh=fresh, reporter=reporter, suite=suite)
    image_store.mark_used(image.id)
    layer_cache.keep(image, "base", digest.removeprefix("sha256:"), reporter.warning)
    config = image_store.image_config(image)
    its_platform = f"{config.get('os', 'linux')}/{config.get('architecture')}"
    if its_platform != platform():
        raise OcicalibanError(
            f"the base image {base.reference} is for {its_platform}, this machine is {platform()}",
            "choose an image for this machine",
        )
    if (config.get("config") or {}).get("OnBuild"):
        raise OcicalibanError(
            f"the base image {base.reference} has ONBUILD instructions, which would run in every layer above it",
            "choose an image without them",
        )
    from ocicaliban.build.base.python_probe import probe

    found = probe(image, base.reference, own_python=own_python)
    return evolve(
        base, digest=digest, platform=its_platform, python=found.python, libc=found.libc, missing=found.missing
    )


def _fetched(base: Base, *, fresh: bool, reporter: Reporter, suite: str = registry.USUAL_SUITE) -> tuple[Image, str]:
    """Return the image of a base that the store lacks, and its digest."""
    from ocicaliban.build.base import archive, bootstrap

    if base.kind == "bootstrap":
        image = bootstrap.fetch(base.reference, fresh=fresh, reporter=reporter)
        digest = f"sha256:{image.id}"
        if base.digest not in ("", digest):
            raise _other_bootstrap(base.reference, emulated=bootstrap.is_emulated())
        return image, digest
    if base.kind == "local":
        raise OcicalibanError(
            f"there is no local image '{base.reference}'",
            "`podman images` lists them; to pull the image, write its name without localhost/ or containers-storage:",
        )
    if base.kind == "archive":
        return archive.fetch(base.reference, base.digest)
    return registry.fetch(base, fresh=fresh, reporter=reporter, suite=suite)


def _other_bootstrap(reference: str, *, emulated: bool) -> OcicalibanError:
    if emulated:
        return OcicalibanError(
            f"{reference} gives another image than the one in ocicaliban.lock: here all its files belong to root",
            "install fakechroot and fakeroot, or take a base from a registry or an archive (layers.base.image)",
        )
    return OcicalibanError(
        f"{reference} gives another image than the one in ocicaliban.lock: Debian's packages have changed",
        "`ocicaliban lock --upgrade base` takes the new ones; a repository that images were pushed to has the old ones:"
        " [push] repository = '...'",
    )
