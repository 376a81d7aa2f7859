"""Ask a registry through the OCI distribution API (spec 1.1) whether we may push, and which blobs it has.

This module uploads no blobs; `transfer` does.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Mapping
from typing import Any

import requests

from ocicaliban.containers import oci_layout
from ocicaliban.errors import OcicalibanError
from ocicaliban.registry import auth, failures
from ocicaliban.registry.auth import Login
from ocicaliban.registry.reference import Destination, Repository
from ocicaliban.registry.token_auth import Authenticator
from ocicaliban.registry.transport import Transport
from ocicaliban.reporter import Reporter

MANIFESTS = ("application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json")
_INDEXES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
_MAX_CONFIG = 8 << 20  # bytes; the spec lets registries refuse manifests beyond 4 MiB


def client_for(destination: Destination, actions: str, reporter: Reporter) -> RegistryClient:
    """Return a client for the repository of `destination`; nothing is sent yet.

    `actions` are "pull" or "pull,push", as the token specification names them.
    """
    find_login = functools.partial(auth.find_login, destination.repository, key_file=destination.key_file)
    return RegistryClient(
        destination.repository, find_login, actions=actions, verify=destination.tls_verify, reporter=reporter
    )


class RegistryClient:
    """A client for one repository. Every method raises OcicalibanError if there is no answer, or it is a refusal."""

    def __init__(
        self,
        repository: Repository,
        find_login: Callable[[], Login | None],
        *,
        actions: str = "pull,push",
        verify: bool = True,
        reporter: Reporter,
    ) -> None:
        self.repository = repository
        self._transport = Transport(repository, verify=verify, reporter=reporter)
        self._authenticator = Authenticator(self._transport, find_login, actions)

    @property
    def verified(self) -> bool:
        """Whether TLS with a trusted certificate is required."""
        return self._transport.verified

    def check_push(self) -> None:
        """Check that we may push, by starting an upload and cancelling it. Later requests are retried longer."""
        self._ping()
        self._cancel_upload(self._ask("POST", "blobs/uploads/"))
        self._transport.be_patient()

    def resolve(self, name: str) -> str:
        """Return the digest of the image or index that a tag or digest names; "" if there is none.

        This may be the first call, and needs no permission to push.
        """
        self._ping()
        return self._digest(name, (*MANIFESTS, *_INDEXES))

    def manifest_digest(self, tag: str) -> str:
        """Return the digest of the manifest that a tag names; "" if there is none."""
        return self._digest(tag, MANIFESTS)

    def image(self, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the manifest and config of the image that a tag or digest names; empty ones if there is none.

        If the name stands for an index, return its image for linux/amd64, the platform of cloud machines; if it has
        none, return the index without a config.
        """
        manifest = self._manifest(name)
        for each in manifest.get("manifests") or ():
            platform = each.get("platform") if isinstance(each, dict) else None
            if isinstance(platform, dict) and (platform.get("os"), platform.get("architecture")) == ("linux", "amd64"):
                manifest = self._manifest(str(each.get("digest")))
                break
        else:
            if "manifests" in manifest:
                return manifest, {}
        described = manifest.get("config")
        size = described.get("size") if isinstance(described, dict) else None
        if not isinstance(described, dict) or not isinstance(size, int) or size > _MAX_CONFIG:
            return {}, {}
        config = self._ask("GET", f"blobs/{described.get('digest')}", missing=True, largest=_MAX_CONFIG)
        return (manifest, failures.json_object(config)) if config.status_code == 200 else ({}, {})

    def has_blob(self, digest: str) -> bool:
        """Return whether the repository has this blob."""
        return self._ask("HEAD", f"blobs/{digest}", missing=True).status_code == 200

    def mount_blob(self, digest: str, source: str) -> bool:
        """Mount a blob from the repository at the path `source` of the same registry; return whether that worked.

        See "Mounting a blob from another repository" in the spec: no byte of the blob is sent.
        """
        self._authenticator.add_readable(source)
        answer = self._ask("POST", f"blobs/uploads/?mount={digest}&from={source}", missing=True)
        if answer.status_code == 202:
            self._cancel_upload(answer)
        return answer.status_code == 201

    def _cancel_upload(self, started: requests.Response) -> None:
        """Cancel an upload, if the registry supports that; if not, it drops the upload by itself some day."""
        if url := self._location(started):
            with contextlib.suppress(OcicalibanError):
                self._transport.send_once("DELETE", url, self._authenticator.header(url))

    def _location(self, started: requests.Response) -> str:
        """Return the URL of an upload that was started; "" if the registry names none."""
        location = started.headers.get("Location", "")
        if not location or "://" in location:
            return location
        return f"{self._transport.base_url}/{location.lstrip('/')}"

    def _digest(self, name: str, kinds: tuple[str, ...]) -> str:
        answer = self._ask("HEAD", f"manifests/{name}", accept=kinds, missing=True)
        if answer.status_code != 200:
            return ""
        if digest := answer.headers.get("Docker-Content-Digest", ""):
            return digest
        # The spec does not require the header.
        answer = self._ask("GET", f"manifests/{name}", accept=kinds, missing=True)
        return oci_layout.digest_of(answer.content) if answer.status_code == 200 else ""

    def _manifest(self, name: str) -> dict[str, Any]:
        answer = self._ask("GET", f"manifests/{name}", accept=(*MANIFESTS, *_INDEXES), missing=True)
        return failures.json_object(answer) if answer.status_code == 200 else {}

    def _ping(self) -> None:
        """Check that the registry speaks the API (the spec's "Determining Support"), and whether with TLS."""
        transport = self._transport
        try:
            answer = transport.send("GET", f"{transport.base_url}/v2/")
        except OcicalibanError as fault:
            if self.verified or not isinstance(fault.__cause__, requests.ConnectionError):
                raise
            transport.use_plain_http()
            answer = transport.send("GET", f"{transport.base_url}/v2/")
        host, status = self.repository.host, answer.status_code
        if status == 401:
            self._authenticator.authenticate(answer)
        elif status == 404 or (status == 200 and "html" in answer.headers.get("Content-Type", "")):
            raise OcicalibanError(f"{host} answers, but is not a registry", "check the host and the port")
        elif status != 200:
            raise OcicalibanError(
                f"{host} answers {failures.status_line(answer)}{failures.registry_message(answer)}",
                "check that it is a registry you may use, and that no proxy refuses the request",
            )

    def _ask(
        self, method: str, path: str, *, accept: tuple[str, ...] = (), missing: bool = False, **more: Any
    ) -> requests.Response:
        """Send a request below the repository and return the answer; 404 is not an error if it may be `missing`."""
        headers = {"Accept": ", ".join(accept)} if accept else {}
        return self._send(method, self._url(path), headers, missing=missing, **more)

    def _url(self, path: str) -> str:
        return f"{self._transport.base_url}/v2/{self.repository.path}/{path}"

    def _send(
        self, method: str, url: str, headers: Mapping[str, str], *, missing: bool = False, **more: Any
    ) -> requests.Response:
        """Send a request with our login and return the answer; 404 is not an error if it may be `missing`.

        `more` goes to `Transport.send_once`.
        """
        answer = self._transport.send(method, url, {**headers, **self._authenticator.header(url)}, **more)
        if answer.status_code == 401:
            # The token has expired, or we have not asked for one yet.
            self._authenticator.authenticate(answer)
            answer = self._transport.send(method, url, {**headers, **self._authenticator.header(url)}, **more)
        if answer.status_code < 400 or (missing and answer.status_code == 404):
            return answer
        pushing = method in ("POST", "PUT")
        raise failures.refused(answer, self.repository, self._authenticator.login, pushing=pushing)
