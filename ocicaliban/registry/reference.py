"""Names in a registry: parse a repository, name a project's image, check a tag (pure)."""

from __future__ import annotations

import re
import unicodedata

from attrs import frozen

from ocicaliban.errors import UsageError

# The grammar of the OCI distribution spec ("Pulling manifests"), and of a host with a port.
_LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST = re.compile(rf"({_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:.]+\])(?::([0-9]{{1,5}}))?")
_COMPONENT = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
_MAX_LENGTH = 255  # characters of a repository's path, by the same spec

_EXAMPLE = "for example ghcr.io/me/digits, or REGION-docker.pkg.dev/PROJECT/REPOSITORY/NAME"


@frozen(kw_only=True)
class Repository:
    """A repository in a registry: its host (with a port, if it has one) and its path on that host."""

    host: str
    path: str

    def __str__(self) -> str:
        return f"{self.host}/{self.path}"

    @property
    def api_host(self) -> str:
        """The host that serves the API; Docker Hub uses a different one."""
        return "registry-1.docker.io" if self.host == "docker.io" else self.host

    @property
    def is_google(self) -> bool:
        """Whether this repository is in Google's Artifact Registry or Container Registry."""
        return self.is_artifact_registry or self.host == "gcr.io" or self.host.endswith(".gcr.io")

    @property
    def is_artifact_registry(self) -> bool:
        """Whether this repository is in Google's Artifact Registry."""
        return self.host.endswith("-docker.pkg.dev")

    @property
    def is_loopback(self) -> bool:
        """Whether the registry runs on this machine."""
        name = self.host.rpartition(":")[0] or self.host
        return name in ("localhost", "[::1]") or name.startswith("127.")


@frozen(kw_only=True)
class Destination:
    """A tag in a repository, and how to reach it.

    `tls_verify` is podman's option; `key_file` is the key file of a Google service account, or "".
    """

    repository: Repository
    tag: str = "latest"
    tls_verify: bool = True
    key_file: str = ""

    @property
    def reference(self) -> str:
        """The image by its tag, as podman writes it."""
        return f"{self.repository}:{self.tag}"


def parse_repository(text: str, folder: str | None = None, *, prefix: bool = False) -> Repository:
    """Return the repository that `text` names, for the image of the project in a folder called `folder`.

    Append a name made from `folder` if `text` names only a place for several images: if `prefix` is set, or `text` ends
    with a slash, or is a registry alone, or is REGION-docker.pkg.dev/PROJECT/REPOSITORY (in Artifact Registry images
    lie below a repository). Without a folder `text` must name the image. Raises UsageError if `text` is not valid.
    """
    plain = text.removeprefix("docker://")
    host, _, path = plain.partition("/")
    if "://" in plain or "@" in host:
        raise UsageError(
            "a repository's name must not contain https:// or a login", f"{_EXAMPLE}; to log in: podman login HOST"
        )
    match = _HOST.fullmatch(host)
    if not match or int(match[2] or 0) > 65535 or not ({".", ":"} & {*host} or host == "localhost"):
        raise UsageError(f"'{text}' does not begin with the host of a registry", _EXAMPLE)
    components = [*filter(None, path.split("/"))]
    artifact_registry = host.endswith("-docker.pkg.dev")
    if artifact_registry and len(components) < 2:
        raise UsageError(f"'{text}' lacks Google's project or repository", f"{host}/PROJECT/REPOSITORY")
    if prefix or path.endswith("/") or not components or (artifact_registry and len(components) == 2):
        if folder is None:
            raise UsageError(f"'{text}' does not name an image", _EXAMPLE)
        components.append(image_name(folder))
    if host == "docker.io" and len(components) == 1:
        components.insert(0, "library")
    last = components[-1]
    if "@" in last or ":" in last:
        repository = plain[: -len(last)] + re.split("[@:]", last)[0]
        raise UsageError(
            f"'{text}' names an image in a repository, not the repository", f"--to {repository}; --tag sets the tag"
        )
    # A Google project that belongs to a domain has a colon in its ID; in a path it becomes a slash.
    for component in components:
        if not _COMPONENT.fullmatch(component):
            raise UsageError(
                f"'{text}' is not a valid repository: '{component}' has characters that are not allowed",
                f"use lower case letters and digits, with '.', '_' or '-' between them; {_EXAMPLE}",
            )
    repository_path = "/".join(components)
    if len(repository_path) > _MAX_LENGTH:
        raise UsageError(f"the repository's name is longer than {_MAX_LENGTH} characters", "choose a shorter one")
    return Repository(host=host, path=repository_path)


def image_name(folder: str) -> str:
    """Return the image name for the project in a folder called `folder`.

    A letter with an accent becomes the plain letter. Raises UsageError if no letter or digit remains.
    """
    plain = "".join(each for each in unicodedata.normalize("NFKD", folder) if not unicodedata.combining(each))
    name = re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")[:100].strip("-")
    if not name:
        raise UsageError(
            f"the name of the folder '{folder}' cannot be turned into an image name",
            f"name the image in the repository: {_EXAMPLE}",
        )
    return name


def check_tag(tag: str) -> str:
    """Return `tag`. Raises UsageError if it is not a valid tag."""
    if not _TAG.fullmatch(tag):
        raise UsageError(
            f"'{tag}' is not a valid tag", "use letters, digits, '_', '.' and '-', at most 128, as in v1.2"
        )
    return tag
