"""Check whether what images are made from can be reached: the registry, the package index, Debian's packages."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

from attrs import frozen

from ocicaliban.dependencies import host_settings
from ocicaliban.dependencies.indexes import PYPI, plain_url
from ocicaliban.doctor.finding import Finding
from ocicaliban.errors import OcicalibanError, UsageError
from ocicaliban.project import config
from ocicaliban.project.root import locate
from ocicaliban.recipes import catalog, loader
from ocicaliban.registry.reference import parse_repository

DEBIAN = "http://deb.debian.org/debian/"

Ask = Callable[[str], float | str]
"""Ask an address for an answer, and return the seconds that it took, or what went wrong."""


@frozen(kw_only=True)
class Place:
    """Something that is fetched from elsewhere: what it is, its address, how people know it, and what helps."""

    name: str
    url: str
    title: str
    remedy: str


def places(environ: Mapping[str, str] = os.environ) -> tuple[Place, ...]:
    """Return what the project in the current folder needs of other machines, as far as its files can be read."""
    found = [_index(environ), _debian()]
    try:
        base = config.load_project(locate(Path.cwd()).root).layers.get("base", {})
    except OcicalibanError:
        base = {}
    image = base.get("image") or _usual_image()
    if not base.get("bootstrap") and isinstance(image, str) and (place := _registry(image)):
        found.insert(0, place)
    return tuple(found)


def check(wanted: tuple[Place, ...], ask: Ask) -> tuple[Finding, ...]:
    """Ask all of them at once, and tell how long each took."""
    if not wanted:
        return ()
    with ThreadPoolExecutor(len(wanted)) as pool:
        answers = list(pool.map(lambda place: ask(place.url), wanted))
    return tuple(_finding(place, answer) for place, answer in zip(wanted, answers, strict=True))


def _finding(place: Place, answer: float | str) -> Finding:
    if isinstance(answer, str):
        message = f"{place.title} cannot be reached: {answer}"
        return Finding(name=place.name, level="warning", message=message, remedy=place.remedy)
    return Finding(name=place.name, level="ok", message=f"{place.title} answers in {answer:.2f} s")


def ask(url: str) -> float | str:
    """Ask an address as our tools do, through the proxies of the environment. A refusal is an answer, too."""
    import requests

    began = time.monotonic()
    bundle = os.environ.get("SSL_CERT_FILE") or True
    try:
        with requests.get(url, timeout=(5.0, 10.0), stream=True, verify=bundle):
            return time.monotonic() - began
    except (requests.RequestException, OSError, ValueError) as fault:
        return _why(fault)


_WORDS = (
    ("Name or service not known|Temporary failure in name resolution|getaddrinfo", "its name cannot be resolved"),
    ("timed out", "no answer within seconds"),
    ("ProxyError|proxy", "the proxy refuses"),
    ("Connection refused", "the connection is refused"),
    ("CERTIFICATE_VERIFY_FAILED", "its certificate is not trusted (SSL_CERT_FILE)"),
    ("Network is unreachable|No route", "there is no way to it"),
)


def _why(fault: Exception) -> str:
    text = str(fault)
    return next((words for pattern, words in _WORDS if re.search(pattern, text)), type(fault).__name__)


def _usual_image() -> str:
    recipe = loader.load_recipe(catalog.builtin_layers() / "base", catalog.BUILT_IN)
    return str(recipe.params["image"].default)


def _registry(image: str) -> Place | None:
    """Return the registry of an image; None if it is a file or in the local store."""
    if image.startswith(("oci:", "oci-archive:", "localhost/")):
        return None
    name = re.sub(":[^:/]+$", "", image.partition("@")[0])
    first, slash, _ = name.partition("/")
    full = name if slash and (first == "localhost" or set(".:") & {*first}) else f"docker.io/library/{name}"
    try:
        repository = parse_repository(full)
    except UsageError:
        return None
    remedy = 'in ocicaliban.toml: layers.base.bootstrap = "debian:bookworm"; https_proxy names a proxy'
    url = f"https://{repository.api_host}/v2/"
    return Place(name="registry", url=url, title=f"{repository.host}, for base images,", remedy=remedy)


def _index(environ: Mapping[str, str]) -> Place:
    try:
        url = host_settings.read_host_settings(environ).index_url or PYPI
    except OcicalibanError:
        url = PYPI
    remedy = "set UV_DEFAULT_INDEX, or index-url in pip.conf, to a mirror; https_proxy names a proxy"
    host = urlsplit(plain_url(url)).netloc or plain_url(url)
    return Place(name="packages", url=f"{url.rstrip('/')}/", title=f"the package index {host}", remedy=remedy)


def _debian() -> Place:
    remedy = "recipes that install Debian's packages fail; http_proxy names a proxy"
    return Place(name="Debian", url=DEBIAN, title="Debian's archive", remedy=remedy)
