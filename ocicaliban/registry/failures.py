"""Turn what goes wrong between us and a registry into errors with hints."""

from __future__ import annotations

import re
from typing import Any

import requests

from ocicaliban.errors import OcicalibanError
from ocicaliban.formats.jsonc import parse_json
from ocicaliban.formats.text import printable
from ocicaliban.registry.auth import Login
from ocicaliban.registry.reference import Repository


class RetryableError(OcicalibanError):
    """A failure that may not happen again; the registry asks to wait at least `retry_after` seconds."""

    def __init__(self, message: str, hint: str = "", *, retry_after: float = 0.0) -> None:
        super().__init__(message, hint)
        self.retry_after = retry_after


class LoginError(OcicalibanError):
    """The registry refuses our login, or wants one and we have none."""


def login_missing(repository: Repository) -> LoginError:
    """Return the error for a registry that wants a login when we have none."""
    return LoginError(f"{repository.host} requires a login, and none was found", login_command(repository))


def login_refused(repository: Repository, login: Login) -> LoginError:
    """Return the error for a login that the registry does not accept."""
    user = f"of '{login.user}' " if login.user and not login.is_refresh_token else ""
    return LoginError(
        f"{repository.host} refuses the login {user}from {login.source}", f"log in again: {login_command(repository)}"
    )


def login_command(repository: Repository) -> str:
    """Return the hint that says how to log in to the registry of a repository."""
    if repository.is_google:
        return (
            "gcloud auth application-default login, or --cloud-key FILE, or: "
            f"gcloud auth configure-docker {repository.host}"
        )
    return f"podman login {repository.host}"


def refused(
    answer: requests.Response, repository: Repository, login: Login | None, *, pushing: bool
) -> OcicalibanError:
    """Return the error for an answer of 4xx, with the registry's own message."""
    message, status = registry_message(answer), answer.status_code
    if status == 404:
        hint = "create it in the registry, or correct the name"
        if repository.is_artifact_registry:
            project, name, *_ = repository.path.split("/")
            hint = (
                f"gcloud artifacts repositories create {name} --repository-format=docker "
                f"--location={repository.host.removesuffix('-docker.pkg.dev')} --project={project}"
            )
        return OcicalibanError(f"the repository {repository} does not exist{message}", hint)
    if status in (401, 403):
        user = f" as '{login.user}' ({login.source})" if login else " without a login"
        doing, permission, role = ("push to", "write", "writer") if pushing else ("read from", "read", "reader")
        hint = f"ask the repository's owner for permission to {permission}"
        if repository.is_google:
            hint += f": roles/artifactregistry.{role} on the repository"
        elif not login:
            hint = login_command(repository)
        return OcicalibanError(f"no permission to {doing} {repository}{user}{message}", hint)
    if status == 405 and pushing:
        return OcicalibanError(
            f"{repository.host} does not accept uploads{message}", "it may be a mirror, or read-only at the moment"
        )
    return OcicalibanError(
        f"{repository} refuses the request: {status_line(answer)}{message}", "ask the administrator of the registry"
    )


def unreachable(url: str, exc: requests.RequestException, registry: str, *, patient: bool) -> OcicalibanError:
    """Return the error for a request that got no answer; `registry` is the host whose certificates were used.

    A registry that does not listen or does not answer gives a RetryableError only if we are `patient`; a dropped
    connection always does.
    """
    host, words = host_of(url), str(exc)
    if isinstance(exc, requests.exceptions.SSLError):
        return _tls_failure(host, words, registry)
    if isinstance(exc, requests.exceptions.ProxyError):
        return OcicalibanError(
            f"{host} cannot be reached through the proxy", "check HTTPS_PROXY and NO_PROXY in the environment"
        )
    fault = RetryableError if patient else OcicalibanError
    if "Connection refused" in words or isinstance(exc, requests.exceptions.ConnectTimeout):
        why = "connection refused" if "refused" in words else "no answer"
        return fault(
            f"{host} cannot be reached: {why}", "check that the registry is running and that the port is right"
        )
    if isinstance(exc, requests.exceptions.ReadTimeout):
        return fault(
            f"{host} accepts the connection and does not answer", "check that it is a registry, and that it is healthy"
        )
    if "NameResolution" in words or "Name or service not known" in words:
        return fault(f"there is no host {host.partition(':')[0]}", "check the name, and the network connection")
    return RetryableError(f"{host} dropped the connection", "check the registry, and the network connection")


def _tls_failure(host: str, words: str, registry: str) -> OcicalibanError:
    if "CERTIFICATE_VERIFY_FAILED" in words:
        why = re.search(r"certificate verify failed: ([^(]*[^( ])", words)
        return OcicalibanError(
            f"the certificate of {host} is not trusted{f': {why[1]}' if why else ''}",
            f"put the certificate of its authority into ~/.config/containers/certs.d/{registry}/ca.crt",
        )
    return OcicalibanError(
        f"{host} does not speak TLS",
        "to use it without TLS: --tls-verify=false, or insecure = true in registries.conf",
    )


def host_of(url: str) -> str:
    """Return the host of a URL, with its port, without a user's name or password."""
    return url.partition("://")[2].partition("/")[0].partition("?")[0].rpartition("@")[2]


def json_object(answer: requests.Response) -> dict[str, Any]:
    """Return the JSON object in an answer; an empty one if there is none."""
    try:
        value = parse_json(answer.content)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def status_line(answer: requests.Response) -> str:
    """Return the status and reason of an answer, safe to print."""
    return printable(f"{answer.status_code} {answer.reason}")


def registry_message(answer: requests.Response) -> str:
    """Return ": MESSAGE" with what the registry says about a failure (the spec's "Error Codes"), or ""."""
    errors = json_object(answer).get("errors")
    first = errors[0] if isinstance(errors, list) and errors and isinstance(errors[0], dict) else {}
    words = str(first.get("message") or first.get("code") or "").split("\n")[0]
    return f": {printable(words)[:300]}" if words else ""
