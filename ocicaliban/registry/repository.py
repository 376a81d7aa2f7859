"""The names of repositories: what is one, which image of it a project has, and which are Google's (pure)."""

from __future__ import annotations

import re
import unicodedata

from attrs import frozen

from ocicaliban.errors import UsageError

# The grammar of the OCI distribution spec, "Pulling manifests", and of a host with a port.
_LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST = re.compile(rf"({_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:.]+\])(?::([0-9]{{1,5}}))?")
_COMPONENT = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
_LONGEST = 255  # characters, by the same

_EXAMPLE = "for example ghcr.io/me/digits, or REGION-docker.pkg.dev/PROJECT/REPOSITORY/NAME"


@frozen(kw_only=True)
class Repository:
    """A repository in a registry: its host, with a port where it has one, and the path there."""

    host: str
    path: str

    def __str__(self) -> str:
        return f"{self.host}/{self.path}"

    @property
    def api(self) -> str:
        """The host that answers for it: Docker Hub's has another name."""
        return "registry-1.docker.io" if self.host == "docker.io" else self.host

    @property
    def google(self) -> bool:
        """Whether it lies in Google's Artifact Registry, or its Container Registry."""
        return self.host.endswith("-docker.pkg.dev") or self.host == "gcr.io" or self.host.endswith(".gcr.io")

    @property
    def loopback(self) -> bool:
        """Whether it is on this machine."""
        name = self.host.rpartition(":")[0] or self.host
        return name in ("localhost", "[::1]") or name.startswith("127.")


def chosen(text: str, folder: str | None = None, *, prefix: bool = False) -> Repository:
    """The repository that `text` names, for the image of the project in a folder called `folder`.

    The folder's name is put behind what is only the place of many images: with `prefix`, where `text` ends with a
    slash, where it is a registry alone, and where it is REGION-docker.pkg.dev/PROJECT/REPOSITORY, which in Artifact
    Registry holds images but is none. Without a folder `text` has to name the image. Raises UsageError for what is no
    repository.
    """
    plain = text.removeprefix("docker://")
    host, _, path = plain.partition("/")
    if "://" in plain or "@" in host:
        raise UsageError("a repository is named without https:// and without a login", f"{_EXAMPLE}; podman login HOST")
    found = _HOST.fullmatch(host)
    if not found or int(found[2] or 0) > 65535 or not ({".", ":"} & {*host} or host == "localhost"):
        raise UsageError(f"'{text}' does not begin with a registry", _EXAMPLE)
    within = [*filter(None, path.split("/"))]
    artifacts = host.endswith("-docker.pkg.dev")
    if artifacts and len(within) < 2:
        raise UsageError(f"'{text}' lacks Google's project or repository", f"{host}/PROJECT/REPOSITORY")
    if prefix or path.endswith("/") or not within or (artifacts and len(within) == 2):
        if folder is None:
            raise UsageError(f"'{text}' names a place for images, and no image", _EXAMPLE)
        within.append(name_of(folder))
    if host == "docker.io" and len(within) == 1:
        within.insert(0, "library")
    last = within[-1]
    if "@" in last or ":" in last:
        place = plain[: -len(last)] + re.split("[@:]", last)[0]
        raise UsageError(f"'{text}' names an image in a repository", f"--to {place}; --tag gives it a tag")
    # Google's projects of a domain have a colon, which is written as a further part of the path.
    for part in within:
        if not _COMPONENT.fullmatch(part):
            raise UsageError(
                f"'{part}' in '{text}' cannot be part of a repository's name",
                f"lower case letters and digits, with . _ or - between them; {_EXAMPLE}",
            )
    made = Repository(host=host, path="/".join(within))
    if len(made.path) > _LONGEST:
        raise UsageError(f"the repository's name is longer than {_LONGEST} characters", "choose a shorter one")
    return made


def name_of(folder: str) -> str:
    """The name of the image of the project in a folder called `folder`.

    An accent goes and leaves its letter. Raises UsageError where no letter or digit is left of it.
    """
    plain = "".join(each for each in unicodedata.normalize("NFKD", folder) if not unicodedata.combining(each))
    name = re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")[:100].strip("-")
    if not name:
        hint = f"name the image in the repository: {_EXAMPLE}"
        raise UsageError(f"the folder's name '{folder}' gives no name for an image", hint)
    return name


def checked_tag(tag: str) -> str:
    """`tag`, where it can be one. Raises UsageError."""
    if not _TAG.fullmatch(tag):
        raise UsageError(f"'{tag}' cannot be a tag", "letters, digits, '_', '.' and '-', 128 at most, as in v1.2")
    return tag
