"""Pushes an image to a registry, of its layers only those that are not there.

A registry knows a layer by the digest of its compressed bytes, the store by that of the plain ones. So the image is
laid out beforehand: the compressed digest of a layer that was packed before is remembered, and only the other layers
are compressed. It is not learned from what others have pushed: who pulls by podman believes a manifest that a layer is
what its config says. skopeo asks for each blob by its digest before it sends it.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from attrs import evolve, frozen

from ocicaliban.containers import buildah, image_store, oci_layout, skopeo, workspace
from ocicaliban.errors import OcicalibanError, ToolError, printable
from ocicaliban.model.image import Image
from ocicaliban.registry import auth
from ocicaliban.registry.client import Registry
from ocicaliban.registry.repository import Repository
from ocicaliban.reporter import Reporter
from ocicaliban.system import files, threads

Compression = Literal["gzip", "zstd"]

_TRIES = 8
_UNCLEAR_TRIES = 3  # of what nobody knows whether it can pass
_LONGEST_WAIT = 30.0  # seconds between two tries
_AT_ONCE = 8  # questions to the registry
_REMEMBERED = 2000  # layers; the oldest go


@frozen(kw_only=True)
class Target:
    """Where to push, and how to be let in: `tls_verify` as podman's, `key_file` a Google service account's."""

    repository: Repository
    tag: str = "latest"
    tls_verify: bool = True
    key_file: str = ""


@frozen(kw_only=True)
class Packed:
    """A compressed layer, as a manifest describes it; `diff_id` is the digest of the plain one.

    `place` is the repository that it was pushed to last, as far as that is known.
    """

    diff_id: str
    digest: str
    size: int
    kind: str
    place: str = ""


@frozen(kw_only=True)
class Pushed:
    """What a push came to: bytes of the blobs that were `sent`, and of those that were there (`saved`)."""

    repository: Repository
    digest: str
    sent: int
    saved: int

    @property
    def reference(self) -> str:
        """The image by its digest, which no later push moves."""
        return f"{self.repository}@{self.digest}"


def connect(target: Target, reporter: Reporter) -> Registry:
    """The registry, which has been asked whether it will take a push: to be done before anything slow.

    Raises OcicalibanError with the remedy where it will not, or where a tool is missing.
    """
    skopeo.require()
    registry = _registry(target, "pull,push", reporter)
    registry.check()
    return registry


def _registry(target: Target, actions: str, reporter: Reporter) -> Registry:
    find = functools.partial(auth.find, target.repository, key_file=target.key_file)
    return Registry(target.repository, find, actions=actions, verify=target.tls_verify, reporter=reporter)


@frozen(kw_only=True)
class There:
    """An image in a registry: its digest, and what a container of it starts where that is `known`."""

    digest: str
    known: bool = False
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()


def look(target: Target, name: str, reporter: Reporter) -> There | None:
    """The image that a tag or digest stands for in the repository of `target`; None where it has none.

    No permission to push is needed. Raises OcicalibanError where the registry gives no answer, or does not let us read.
    """
    registry = _registry(target, "pull", reporter)
    if not (digest := registry.find(name)):
        return None
    manifest, config = registry.image(digest)
    if "manifests" in manifest or (config and (config.get("os"), config.get("architecture")) != ("linux", "amd64")):
        hint = "the machines of the cloud take no other: build one there with --platform linux/amd64"
        raise OcicalibanError(f"{target.repository}@{digest} has no image for linux/amd64", hint)
    own = config.get("config")
    entry, command = (own.get(name) or () if isinstance(own, dict) else () for name in ("Entrypoint", "Cmd"))
    return There(digest=digest, known=bool(config), entrypoint=tuple(map(str, entry)), command=tuple(map(str, command)))


def push(
    image: Image,
    target: Target,
    registry: Registry,
    *,
    compression: Compression = "gzip",
    before: Callable[[], None] = lambda: None,
    reporter: Reporter,
) -> Pushed:
    """Push `image` to `target`, which `registry` is a connection to (see `connect`).

    `before` is called before what takes long: before a layer is packed, and before anything is sent. What it raises
    ends the push. One that was interrupted goes on where it was. Raises OcicalibanError where the registry refuses for
    good, or is still not well after some tries.
    """
    with workspace.open_workspace() as folder:
        folder = folder / "push"
        folder.mkdir(mode=0o700)
        diff_ids = tuple((image_store.image_config(image).get("rootfs") or {}).get("diff_ids") or ())
        there = _there(registry, diff_ids, compression)
        packing: contextlib.AbstractContextManager[object] = contextlib.nullcontext()
        if len(there) < len({*diff_ids}):
            before()
            packing = reporter.making("layers to push", "packing", done="packed")
        with packing:
            digest, blobs = _lay_out(image, folder, there, compression)
        known = {packed.digest for packed in there.values()}
        missing = {name for name in blobs if name not in known}
        missing -= _had(registry, missing)
        sent = sum(blobs[name] for name in missing)
        if missing or registry.digest(target.tag) != digest:
            before()
            what = f"{target.repository}:{target.tag}"
            with reporter.making(what, "pushing", done="pushed", taken=sent):
                _upload(folder, target, registry, reporter)
        _placed(blobs, target.repository, compression)
        return Pushed(repository=target.repository, digest=digest, sent=sent, saved=sum(blobs.values()) - sent)


# --- what is there already ---


def _there(registry: Registry, diff_ids: tuple[str, ...], compression: Compression) -> dict[str, Packed]:
    """The layers that the registry is known to have, by diff id; what it has in another repository it takes over."""
    known = [each for each in _remembered(compression) if each.diff_id in diff_ids]

    def has(packed: Packed) -> bool:
        if registry.has(packed.digest):
            return True
        host, _, path = packed.place.partition("/")
        here = registry.repository
        return host == here.host and path != here.path and registry.mount(packed.digest, path)

    return {packed.diff_id: packed for packed, found in threads.each(has, known, at_once=_AT_ONCE) if found}


def _had(registry: Registry, digests: Iterable[str]) -> set[str]:
    return {digest for digest, has in threads.each(registry.has, sorted({*digests}), at_once=_AT_ONCE) if has}


def described(manifest: Mapping[str, Any], config: Mapping[str, Any], compression: Compression) -> list[Packed]:
    """The layers of an image that are compressed in the way that is wanted; none of one that is none (pure)."""
    rootfs, layers = config.get("rootfs"), manifest.get("layers")
    diff_ids = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    if not isinstance(diff_ids, list) or not isinstance(layers, list) or len(diff_ids) != len(layers):
        return []
    return [
        Packed(diff_id=diff_id, digest=layer["digest"], size=layer["size"], kind=layer["mediaType"])
        for diff_id, layer in zip(diff_ids, layers, strict=True)
        if isinstance(layer, dict)
        and layer.get("mediaType") == f"{oci_layout.LAYER}+{compression}"
        and _DIGEST.fullmatch(str(diff_id))
        and _DIGEST.fullmatch(str(layer.get("digest")))
        and isinstance(layer.get("size"), int)
    ]


_DIGEST = re.compile("sha256:[0-9a-f]{64}")


# --- what is remembered ---


def _memory(compression: Compression) -> Path:
    return files.cache() / f"packed-{compression}.json"


def _remembered(compression: Compression) -> list[Packed]:
    try:
        held = json.loads(_memory(compression).read_text())
        kind = f"{oci_layout.LAYER}+{compression}"
        packed = [
            Packed(diff_id=name, digest=str(of[0]), size=int(of[1]), kind=kind, place=str(of[2]) if of[2:] else "")
            for name, of in held.items()
        ]
        return [each for each in packed if each.size]
    except (OSError, ValueError, TypeError, LookupError, AttributeError):
        return []


def _remember(packed: Iterable[Packed], compression: Compression) -> None:
    known = {each.diff_id: each for each in _remembered(compression)}
    for each in packed:
        known.pop(each.diff_id, None)  # so that it is the newest
        known[each.diff_id] = each
    held = {each.diff_id: [each.digest, each.size, each.place] for each in [*known.values()][-_REMEMBERED:]}
    files.keep(_memory(compression), json.dumps(held))


def _placed(digests: Collection[str], repository: Repository, compression: Compression) -> None:
    """Remember that these layers are in the repository now."""
    there = [each for each in _remembered(compression) if each.digest in digests and each.place != str(repository)]
    if there:
        _remember([evolve(each, place=str(repository)) for each in there], compression)


# --- the image that is pushed ---


def _lay_out(
    image: Image, folder: Path, there: Mapping[str, Packed], compression: Compression
) -> tuple[str, dict[str, int]]:
    """Lay the image out in `folder`/image, the blobs of the layers that are `there` left out.

    Returns the digest of its manifest, and the bytes of each of its blobs.
    """
    layout = folder / "image"
    blobs = layout / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    # buildah neither compresses nor writes a blob that lies there; an empty one will do. Should a version look closer,
    # then it packs them as well, which only takes its time.
    for diff_id in there:
        (blobs / _hex(diff_id)).touch()
    doing = "the image cannot be packed for the registry"
    # To name gzip makes newer versions doubt what is there.
    named = compression if compression != "gzip" else ""
    buildah.export_layout(image.id, folder, "image", compression=named, doing=doing)
    manifest = _manifest(layout)
    if any(
        layer["mediaType"] == f"{oci_layout.LAYER}+{other}"
        for layer in manifest["layers"]
        for other in _OTHERS[compression]
    ):
        # containers.conf wants another one.
        buildah.export_layout(image.id, folder, "image", compression=compression, doing=doing)
        manifest = _manifest(layout)
    config = json.loads((blobs / _hex(manifest["config"]["digest"])).read_text())
    # An empty blob is described like any other.
    made = [each for each in described(manifest, config, compression) if each.diff_id not in there]
    _remember(made, compression)
    for diff_id in there:
        (blobs / _hex(diff_id)).unlink()
    whole = finished(manifest, config, {**there, **{each.diff_id: each for each in made}})
    data = oci_layout.canonical_json(whole)
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    (blobs / _hex(digest)).write_bytes(data)
    described_top = {"mediaType": oci_layout.MANIFEST, "digest": digest, "size": len(data)}
    (layout / "index.json").write_bytes(oci_layout.canonical_json({"schemaVersion": 2, "manifests": [described_top]}))
    return digest, {each["digest"]: each["size"] for each in (*whole["layers"], whole["config"])}


_OTHERS = {"gzip": ("zstd",), "zstd": ("gzip",)}


def _hex(digest: str) -> str:
    return digest.removeprefix("sha256:")


def _manifest(layout: Path) -> dict[str, Any]:
    index = json.loads((layout / "index.json").read_text())
    manifest = json.loads((layout / "blobs" / "sha256" / _hex(index["manifests"][-1]["digest"])).read_text())
    assert isinstance(manifest, dict)
    return manifest


_OF_THIS_MACHINE = "org.opencontainers.image.base."


def finished(manifest: Mapping[str, Any], config: Mapping[str, Any], packed: Mapping[str, Packed]) -> dict[str, Any]:
    """The manifest with all its layers as they are `packed`, by diff id (pure).

    What it says of the base's name goes: that is the name in our store.
    """
    layers = [
        {"mediaType": packed[name].kind, "digest": packed[name].digest, "size": packed[name].size}
        if name in packed
        else layer
        for name, layer in zip((config.get("rootfs") or {}).get("diff_ids") or [], manifest["layers"], strict=True)
    ]
    given = manifest.get("annotations") or {}
    annotations = {name: value for name, value in given.items() if not name.startswith(_OF_THIS_MACHINE)}
    rest = {name: value for name, value in manifest.items() if name != "annotations"}
    return {**rest, "layers": layers, **({"annotations": annotations} if annotations else {})}


# --- the upload ---


class _Passing(ToolError):
    """A failure that one of the next `tries` may not meet."""

    def __init__(self, message: str, hint: str = "", *, stderr: str = "", tries: int = _TRIES) -> None:
        super().__init__(message, hint, stderr=stderr)
        self.tries = tries


def _upload(folder: Path, target: Target, registry: Registry, reporter: Reporter) -> None:
    """Have skopeo send what is missing, until it is there or the registry refuses for good."""
    import tenacity

    def told(state: tenacity.RetryCallState) -> None:
        fault = state.outcome.exception() if state.outcome else None
        assert isinstance(fault, ToolError) and state.next_action
        reporter.say(f"{fault.message}; again in {state.next_action.sleep:.0f} s")

    def is_over(state: tenacity.RetryCallState) -> bool:
        fault = state.outcome.exception() if state.outcome else None
        return not isinstance(fault, _Passing) or state.attempt_number >= fault.tries

    loop = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(_Passing),
        stop=is_over,
        wait=tenacity.wait_exponential_jitter(initial=1, max=_LONGEST_WAIT),
        before_sleep=told,
        reraise=True,
    )
    loop(functools.partial(_send, folder, target, registry, reporter))


def _send(folder: Path, target: Target, registry: Registry, reporter: Reporter) -> None:
    # Anew each time: a token of Google's lives for an hour.
    login = auth.find(target.repository, key_file=target.key_file)
    try:
        with contextlib.ExitStack() as stack:
            file = ""
            if login and login.ours:
                file = stack.enter_context(auth.auth_file(login, target.repository))
            reference = f"{target.repository}:{target.tag}"
            skopeo.copy_layout(folder, "image", reference, tls_verify=registry.verified, auth_file=file)
    except ToolError as exc:
        words = said(exc.stderr, login.secret if login else "")
        message = f"{target.repository}: {words}"
        fate = passes(exc.stderr, target)
        if fate == "login":
            # Our own question tells whether it is refused for good, and why.
            connect(target, reporter)
        if fate != "never":
            hint = "run it again: what has been sent is not sent anew"
            tries = _UNCLEAR_TRIES if fate == "unclear" else _TRIES
            raise _Passing(message, hint, stderr=exc.stderr, tries=tries) from exc
        raise OcicalibanError(
            f"the push failed: {message}", "is there room in the registry, and may we write?"
        ) from exc


def said(stderr: str, secret: str) -> str:
    """What skopeo says of its failure, without the form of its log and without a secret (pure)."""
    lines = [line for line in stderr.splitlines() if line.strip()]
    last = lines[-1] if lines else "skopeo failed"
    quoted = re.search(r'msg="((?:[^"\\]|\\.)*)"', last)
    words = quoted[1].replace('\\"', '"') if quoted else last
    # What follows in an address is the state of an upload, or a signature.
    words = re.sub(r"(https?://[^\s?\"]+)\?[^\s\"]*[^\s\":,]", r"\1", words)
    return printable(words.replace(secret, "****") if secret else words)


_LATER = re.compile(
    r"\b(?:EOF|broken pipe|connection reset|connection refused|connection timed out|i/o timeout|handshake timeout"
    r"|use of closed network connection|server closed idle|deadline exceeded|client connection lost|GOAWAY"
    r"|stream error|Client\.Timeout|no such host|server misbehaving|temporary failure in name resolution"
    r"|network is unreachable|no route to host"
    r"|toomanyrequests|too many requests|quota exceeded|unavailable|blob upload (?:invalid|unknown)"
    r"|(?:status ?(?:code)?:?|HTTP status:?|code) \"?(?:429|5\d\d))\b",
    re.I,
)
_LOGIN = re.compile(
    r"\b(?:unauthorized|(?<!proxy )authentication required|401|invalid token|token (?:has )?expired)\b", re.I
)
_NEVER = re.compile(
    r"\b(?:denied|forbidden|proxy authentication required|name unknown|not known to registry|manifest invalid"
    r"|digest did not match|too large|no space left on device|unsupported|not allowed|certificate|not found"
    r"|(?:status ?(?:code)?:?|HTTP status:?|code) \"?(?:40[0345]|41[0-9]))\b",
    re.I,
)


def passes(stderr: str, target: Target) -> Literal["never", "later", "login", "unclear"]:
    """Whether what skopeo says may pass by itself: `later`, with a new `login`, or perhaps (pure).

    The names of `target` in it count for nothing, even if they look like a fault.
    """
    for name in (f"{target.repository}:{target.tag}", str(target.repository), target.repository.path):
        stderr = stderr.replace(name, "")
    if _LOGIN.search(stderr):
        return "login"
    if _LATER.search(stderr):
        return "later"
    return "never" if _NEVER.search(stderr) else "unclear"
