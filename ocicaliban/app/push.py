"""Push the project's image to a registry."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from ocicaliban.app import build, place
from ocicaliban.app.cloud_key import key_file
from ocicaliban.app.requests import BuildRequest, PushRequest
from ocicaliban.errors import UsageError, nearest
from ocicaliban.formats.text import amount
from ocicaliban.project import config, user_config
from ocicaliban.registry import kept_base
from ocicaliban.registry import push as registry_push
from ocicaliban.registry.packed_layers import Compression
from ocicaliban.registry.push import Pushed
from ocicaliban.registry.reference import Destination, Repository, check_tag, parse_repository
from ocicaliban.reporter import TERMINAL
from ocicaliban.system import files

_COMPRESSIONS = ("gzip", "zstd")


def push(request: BuildRequest, target: PushRequest, image_id: str = "") -> Pushed:
    """Build the project's image, unless `image_id` names another one, and push it.

    Raises UsageError if the target is not valid, OcicalibanError if the build or the registry fails.
    """
    build.note_root()
    if target.compression not in _COMPRESSIONS:
        raise UsageError(
            f"--compression '{target.compression}' is not supported", nearest(target.compression, _COMPRESSIONS)
        )
    compression: Compression = "zstd" if target.compression == "zstd" else "gzip"
    to = Destination(
        repository=repository_of(place.project_root(), target.repository),
        tag=check_tag(target.tag),
        tls_verify=target.tls_verify,
        key_file=key_file(target.cloud_key),
    )
    given = build.image_called(image_id) if image_id else None
    if target.cloud_key and not to.repository.is_google:
        raise UsageError(
            f"--cloud-key is for Google's registries, and {to.repository.host} is not one of them",
            f"podman login {to.repository.host}",
        )
    registry = registry_push.connect(to, TERMINAL)
    image = given or build.plan_and_build(request).image
    pushed = registry_push.push(image, to, registry, compression=compression, reporter=TERMINAL)
    say_pushed(pushed)
    kept_base.keep(image, to, registry, TERMINAL)
    return pushed


def say_pushed(pushed: Pushed) -> None:
    """Tell the user what was pushed, and how many bytes that took."""
    TERMINAL.say(f"pushed {pushed.reference}: sent {amount(pushed.sent)}, {amount(pushed.saved)} were there already")


@contextlib.contextmanager
def _named(place: str) -> Iterator[None]:
    """Add the file that has the value to an error."""
    try:
        yield
    except UsageError as fault:
        raise UsageError(f"{place}: {fault.message}", fault.hint) from fault


def repository_of(root: Path, given: str) -> Repository:
    """Return the repository of the project in `root`: the `given` one, or the project's, or the user's.

    Raises UsageError if none is configured, or its name is not valid.
    """
    if given:
        return parse_repository(given, root.name)
    if given := config.load_project(root).push.repository:
        with _named(config.setting_place(root, ("push", "repository"))):
            return parse_repository(given, root.name)
    if given := user_config.load_user_config().push.repository:
        with _named(str(files.config() / user_config.NAME)):
            # It holds for all projects, and each needs an image of its own.
            return parse_repository(given, root.name, prefix=True)
    hint = "--to REPOSITORY, for example ghcr.io/me/digits; or in ocicaliban.toml: [push] repository = '...'"
    raise UsageError("no repository to push to is configured", hint)
