"""A base image in the repository that the project's images are pushed to."""

from __future__ import annotations

from ocicaliban.build.base.stored import stored_image
from ocicaliban.containers import buildah
from ocicaliban.errors import ToolError, UsageError
from ocicaliban.model.image import Base, Image
from ocicaliban.model.project import Project
from ocicaliban.project import user_config
from ocicaliban.registry.reference import Repository, parse_repository
from ocicaliban.reporter import Reporter


def repository_of(project: Project) -> Repository | None:
    """Return the repository that the project's images are pushed to, None if no valid one is configured."""
    own, users = project.push.repository, user_config.load_user_config().push.repository
    try:
        return parse_repository(own or users, project.root.name, prefix=not own) if own or users else None
    except UsageError:
        return None  # `push` tells what is wrong with it


def fetch(base: Base, repository: Repository, reporter: Reporter) -> Image | None:
    """Return the image of a base from where `push` and `publish` keep it; None if it is not there."""
    from ocicaliban.registry import kept_base  # requests takes a while to import

    identity = base.digest.removeprefix("sha256:")
    reference = f"{repository}:{kept_base.tag_of(identity)}"
    try:
        with reporter.making("base", f"fetching {base.reference} from {repository}", done="fetched"):
            found = buildah.pull(reference, tls_verify=not repository.is_loopback)
    except ToolError as exc:
        why = exc.stderr.splitlines()[-1].removeprefix("Error: ") if exc.stderr else exc.message
        reporter.note(f"the base image cannot be fetched from {repository}: {why}")
        return None
    if found != identity:
        reporter.warning(f"{reference} is another image than the one in ocicaliban.lock, and is not used")
        return None
    return stored_image(found, base.reference)
