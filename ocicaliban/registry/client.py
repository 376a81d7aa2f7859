"""A registry, asked by the OCI distribution API: whether we may push, and what it has already.

It uploads nothing itself; the endpoints are those of the OCI distribution spec 1.1, the tokens those of distribution's
"Token Authentication Specification".
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ocicaliban.errors import OcicalibanError, printable
from ocicaliban.registry import tls as trust
from ocicaliban.registry.auth import Login
from ocicaliban.registry.repository import Repository
from ocicaliban.reporter import Reporter

if TYPE_CHECKING:
    import requests

MANIFESTS = ("application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json")
_INDEXES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")

_TIMEOUT = (5.0, 10.0)  # seconds to connect, and for each answer
_PATIENT_TIMEOUT = (5.0, 30.0)
_TRIES = 5
_PATIENT_TRIES = 8
_LONGEST_WAIT = 30.0  # seconds between two tries, unless the registry itself says a longer time
_LONGEST_ASKED = 120.0  # seconds that it may say
_LARGEST = 8 << 20  # bytes of a config or manifest; the spec lets registries refuse manifests beyond 4 MiB


class _Passing(OcicalibanError):
    """A refusal that a later try may not meet, which the registry wants after so many seconds."""

    def __init__(self, message: str, hint: str = "", *, after: float = 0.0) -> None:
        super().__init__(message, hint)
        self.after = after


class _BadLogin(OcicalibanError):
    """Who we say that we are is not believed."""


class Registry:
    """One repository in a registry, as who `find` says that we are, to do these `actions` of the token specification
    there; `verified` tells whether TLS is demanded.

    `find` is called again where a login that was good is refused: an access token may live for less than a build takes.
    What can pass (5xx, 429, a connection that is dropped) is asked again a few times, which `reporter` hears of;
    after a
    `check` that went well with more patience, and a registry that does not answer at all may pass too. Every method
    raises OcicalibanError where there is no answer, or the answer is no.
    """

    def __init__(
        self,
        repository: Repository,
        find: Callable[[], Login | None],
        *,
        actions: str = "pull,push",
        verify: bool = True,
        reporter: Reporter,
    ) -> None:
        import requests
        import urllib3
        from requests.adapters import HTTPAdapter
        from requests.utils import get_environ_proxies

        self.repository, self._find, self._reporter = repository, find, reporter
        self.verified = verify and not trust.insecure(repository)
        self._login = find()
        self._authorization = ""
        self._challenges: Mapping[str, Mapping[str, str]] = {}
        self._scopes = [f"repository:{repository.path}:{actions}"]
        self._logging_in = threading.Lock()
        self._checked = False
        self._base = f"https://{repository.api}"
        tls = trust.context(repository.host, verify=self.verified)

        class Trusting(HTTPAdapter):
            def init_poolmanager(self, *args: Any, **options: Any) -> None:
                super().init_poolmanager(*args, **options, ssl_context=tls)

            def proxy_manager_for(self, *args: Any, **options: Any) -> Any:
                return super().proxy_manager_for(*args, **options, ssl_context=tls)

        if not self.verified:
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)  # whoever asked for it knows
        self._session = requests.Session()
        # With it requests would take logins from ~/.netrc, which no tool that pushes knows.
        self._session.trust_env = False
        if not repository.loopback:
            self._session.proxies.update(get_environ_proxies(self._base))
        self._session.mount("https://", Trusting())

    def check(self) -> None:
        """Find out whether an upload would be let in, by beginning one and giving it up."""
        self._ping()
        self._give_up(self._ask("POST", "blobs/uploads/"))
        self._checked = True

    def _give_up(self, begun: requests.Response) -> None:
        """End an upload that was begun, if the registry can do that; else it forgets it by itself some day."""
        if place := begun.headers.get("Location", ""):
            place = _joined(self._base, place)
            with contextlib.suppress(OcicalibanError):
                self._send_once("DELETE", place, self._authorized(place), {})

    def find(self, name: str) -> str:
        """The digest of what a tag or digest stands for, of one platform or several; "" for nothing.

        Nothing else need be asked before, and no permission to push is needed.
        """
        self._ping()
        return self._digest(name, (*MANIFESTS, *_INDEXES))

    def has(self, digest: str) -> bool:
        """Whether it has this blob."""
        return self._ask("HEAD", f"blobs/{digest}", missing=True).status_code == 200

    def mount(self, digest: str, source: str) -> bool:
        """Let it take over a blob from its repository with the path `source`; whether it has.

        See "Mounting a blob from another repository" in the spec; no byte of the blob is sent.
        """
        self._may_read(source)
        answer = self._ask("POST", f"blobs/uploads/?mount={digest}&from={source}", missing=True)
        if answer.status_code == 202:
            self._give_up(answer)
        return answer.status_code == 201

    def _may_read(self, source: str) -> None:
        """Have a token, where there are any, that holds for another repository too."""
        scope = f"repository:{source}:pull"
        with self._logging_in:
            if "bearer" not in self._challenges or scope in self._scopes:
                return
            self._scopes.append(scope)
            try:
                self._authorization = self._answered(self._challenges)
            except OcicalibanError:  # no right to read there: nothing is taken over then
                self._scopes.remove(scope)

    def digest(self, tag: str) -> str:
        """The digest of the manifest that a tag stands for; "" for none."""
        return self._digest(tag, MANIFESTS)

    def _digest(self, name: str, kinds: tuple[str, ...]) -> str:
        answer = self._ask("HEAD", f"manifests/{name}", accept=", ".join(kinds), missing=True)
        if answer.status_code != 200:
            return ""
        if digest := answer.headers.get("Docker-Content-Digest", ""):
            return digest
        # The spec does not oblige a registry to say it.
        answer = self._ask("GET", f"manifests/{name}", accept=", ".join(kinds), missing=True)
        return f"sha256:{hashlib.sha256(answer.content).hexdigest()}" if answer.status_code == 200 else ""

    def image(self, tag: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """The manifest and config of the image that a tag or digest stands for; empty ones where there is none.

        Of one for several platforms it is that for linux/amd64, which the machines of the cloud are; where it has none
        of these, its index, and no config.
        """
        manifest = self._manifest(tag)
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
        if not isinstance(described, dict) or not isinstance(size, int) or size > _LARGEST:
            return {}, {}
        config = self._ask("GET", f"blobs/{described.get('digest')}", missing=True)
        return (manifest, _table(config)) if config.status_code == 200 else ({}, {})

    def _manifest(self, name: str) -> dict[str, Any]:
        answer = self._ask("GET", f"manifests/{name}", accept=", ".join((*MANIFESTS, *_INDEXES)), missing=True)
        return _table(answer) if answer.status_code == 200 else {}

    def _ping(self) -> None:
        """Ask for the API, and find out by which scheme. The spec's "Determining Support" has 200 for yes."""
        import requests

        try:
            answer = self._send("GET", f"{self._base}/v2/")
        except OcicalibanError as fault:
            if self.verified or not isinstance(fault.__cause__, requests.ConnectionError):
                raise
            self._base = f"http://{self.repository.api}"
            answer = self._send("GET", f"{self._base}/v2/")
        host, code = self.repository.host, answer.status_code
        if code == 401:
            self._authorize(answer)
        elif code == 404 or (code == 200 and "html" in answer.headers.get("Content-Type", "")):
            raise OcicalibanError(f"{host} answers, but is no registry", "is the host and port right?")
        elif code != 200:
            hint = "is it a registry that we may reach, or a proxy before it that does not let us?"
            raise OcicalibanError(f"{host} answers {_status(answer)}{_own_words(answer)}", hint)

    def _ask(self, method: str, path: str, *, accept: str = "", missing: bool = False) -> requests.Response:
        """The answer of the repository; one that is not there is no fault where it may be `missing`."""
        url = f"{self._base}/v2/{self.repository.path}/{path}"
        headers = {"Accept": accept} if accept else {}
        answer = self._send(method, url, headers | self._authorized(url))
        if answer.status_code == 401:
            # The token has had its time, or none was asked for yet.
            self._authorize(answer)
            answer = self._send(method, url, headers | self._authorized(url))
        if answer.status_code < 400 or (missing and answer.status_code == 404):
            return answer
        raise self._refused(answer, "push to" if method == "POST" else "read from")

    def _authorized(self, url: str) -> dict[str, str]:
        """The header that says who we are, to the registry alone."""
        ours = self._authorization and url.startswith(f"{self._base}/")
        return {"Authorization": self._authorization} if ours else {}

    def _send(self, method: str, url: str, headers: Mapping[str, str] | None = None, **more: Any) -> requests.Response:
        """An answer, whatever it says but "later"."""
        import tenacity

        backoff = tenacity.wait_exponential_jitter(initial=0.2, max=_LONGEST_WAIT)

        def wait(state: tenacity.RetryCallState) -> float:
            fault = state.outcome.exception() if state.outcome else None
            return max(backoff(state), fault.after if isinstance(fault, _Passing) else 0.0)

        def told(state: tenacity.RetryCallState) -> None:
            fault = state.outcome.exception() if state.outcome else None
            assert isinstance(fault, _Passing) and state.next_action
            later = state.next_action.sleep
            self._reporter.say(f"{fault.message}; trying again{f' in {later:.0f} s' if later >= 1 else ''}")

        loop = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_Passing),
            stop=tenacity.stop_after_attempt(_PATIENT_TRIES if self._checked else _TRIES),
            wait=wait,
            before_sleep=told,
            reraise=True,
        )
        result: requests.Response = loop(self._send_once, method, url, dict(headers or {}), more)
        return result

    def _send_once(self, method: str, url: str, headers: dict[str, str], more: dict[str, Any]) -> requests.Response:
        import requests

        timeout = _PATIENT_TIMEOUT if self._checked else _TIMEOUT
        try:
            answer = self._session.request(
                method, url, headers=headers, timeout=timeout, verify=self.verified, stream=False, **more
            )
        except requests.RequestException as exc:
            raise self._unreachable(url, exc) from exc
        if answer.status_code == 429 or answer.status_code >= 500:
            after = _seconds(answer.headers.get("Retry-After", ""))
            raise _Passing(f"{_host(url)} answers {_status(answer)}", "try again later", after=after)
        return answer

    # --- who we are ---

    def _authorize(self, answer: requests.Response) -> None:
        """Log in as a 401's challenge asks for; raises OcicalibanError where that cannot be."""
        with self._logging_in:
            before = self._authorization
            if answer.request.headers.get("Authorization", "") != before:
                return  # another thread has done it meanwhile
            self._challenges = challenges = dict(_challenges(answer.headers.get("WWW-Authenticate", "")))
            try:
                self._authorization = self._answered(challenges)
            except _BadLogin:
                if not before:
                    raise
                self._login = self._find()
                self._authorization = self._answered(challenges)

    def _answered(self, challenges: Mapping[str, Mapping[str, str]]) -> str:
        """The header that answers one of these challenges, by scheme."""
        if "bearer" in challenges:
            return f"Bearer {self._token(challenges['bearer'])}"
        if self._login is None:
            raise self._no_login()
        if "basic" not in challenges:
            raise OcicalibanError(f"{self.repository.host} wants a login of an unknown kind", "is it a registry?")
        basic = _basic(self._login)
        if self._send("GET", f"{self._base}/v2/", {"Authorization": basic}).status_code == 401:
            raise self._wrong_login()
        return basic

    def _token(self, challenge: Mapping[str, str]) -> str:
        """A token for this repository from where the challenge sends us."""
        realm = challenge.get("realm", "")
        if not realm.startswith(("https://", "http://")):
            raise OcicalibanError(f"{self.repository.host} does not say where tokens are given", "is it a registry?")
        asked: dict[str, object] = {"scope": self._scopes}
        if "service" in challenge:
            asked["service"] = challenge["service"]
        if self._login and self._login.identity:
            asked |= {"scope": " ".join(self._scopes)}  # as OAuth 2 has several
            asked |= {"grant_type": "refresh_token", "refresh_token": self._login.secret, "client_id": "ocicaliban"}
            answer = self._send("POST", realm, data=asked)
        else:
            headers = {"Authorization": _basic(self._login)} if self._login else {}
            answer = self._send("GET", realm, headers, params=asked)
        if answer.status_code in (400, 401, 403):
            raise self._wrong_login() if self._login else self._no_login()
        held = _table(answer) if answer.status_code == 200 else {}
        token = held.get("token") or held.get("access_token")
        if not isinstance(token, str):
            raise OcicalibanError(f"{_host(realm)} gives no token ({answer.status_code})", "is it a registry's?")
        return token

    # --- what went wrong ---

    def _log_in(self) -> str:
        if self.repository.google:
            return (
                "gcloud auth application-default login, or --cloud-key FILE, or: "
                f"gcloud auth configure-docker {self.repository.host}"
            )
        return f"podman login {self.repository.host}"

    def _no_login(self) -> OcicalibanError:
        return _BadLogin(f"{self.repository.host} wants a login, and there is none", self._log_in())

    def _wrong_login(self) -> OcicalibanError:
        assert self._login is not None
        who = f"of '{self._login.user}' " if self._login.user and not self._login.identity else ""
        return _BadLogin(
            f"{self.repository.host} refuses the login {who}from {self._login.source}", f"log in anew: {self._log_in()}"
        )

    def _refused(self, answer: requests.Response, doing: str) -> OcicalibanError:
        """The error for an answer of 4xx, with the registry's own words."""
        own = _own_words(answer)
        code = answer.status_code
        name = self.repository
        if code == 404:
            hint = "create it in the registry first, or is it misspelt?"
            if name.google and name.host.endswith("-docker.pkg.dev"):
                project, place, *_ = name.path.split("/")
                region = name.host.removesuffix("-docker.pkg.dev")
                hint = (
                    f"gcloud artifacts repositories create {place} --repository-format=docker "
                    f"--location={region} --project={project}"
                )
            return OcicalibanError(f"there is no repository {name}{own}", hint)
        if code in (401, 403):
            who = f" as '{self._login.user}' ({self._login.source})" if self._login else " without a login"
            reading = doing == "read from"
            hint = f"ask its owner for the permission to {'read' if reading else 'write'}"
            if name.google:
                hint += f": roles/artifactregistry.{'reader' if reading else 'writer'} on the repository"
            elif not self._login:
                hint = self._log_in()
            return OcicalibanError(f"no permission to {doing} {name}{who}{own}", hint)
        if code == 405 and doing == "push to":
            return OcicalibanError(f"{name.host} takes no uploads{own}", "it may be a mirror, or read-only for now")
        return OcicalibanError(f"{name} refuses: {_status(answer)}{own}", "ask whoever runs the registry")

    def _unreachable(self, url: str, exc: requests.RequestException) -> OcicalibanError:
        import requests

        host, words = _host(url), str(exc)
        if isinstance(exc, requests.exceptions.SSLError):
            if "CERTIFICATE_VERIFY_FAILED" in words:
                why = re.search(r"certificate verify failed: ([^(]*[^( ])", words)
                folder = f"~/.config/containers/certs.d/{self.repository.host}"
                return OcicalibanError(
                    f"the certificate of {host} is not trusted{f': {why[1]}' if why else ''}",
                    f"put the certificate of its authority into {folder}/ca.crt",
                )
            return OcicalibanError(
                f"{host} does not speak TLS",
                "if it shall be used without: --tls-verify=false, or insecure = true in registries.conf",
            )
        if isinstance(exc, requests.exceptions.ProxyError):
            return OcicalibanError(f"{host} cannot be reached through the proxy", "are HTTPS_PROXY and NO_PROXY right?")
        fault = _Passing if self._checked else OcicalibanError
        if "Connection refused" in words or isinstance(exc, requests.exceptions.ConnectTimeout):
            silent = "refused" if "refused" in words else "no answer"
            return fault(f"{host} cannot be reached: {silent}", "is the registry up, and the port right?")
        if isinstance(exc, requests.exceptions.ReadTimeout):
            return fault(f"{host} lets us in, and then gives no answer", "is it a registry, and is it well?")
        if "NameResolution" in words or "Name or service not known" in words:
            return fault(f"there is no host {host.partition(':')[0]}", "is the name right, is the network up?")
        return _Passing(f"{host} broke the connection off", "is the registry well, and the network?")


def _seconds(text: str) -> float:
    """What a Retry-After header says (RFC 9110, 10.2.3), in seconds; 0 for nothing that one could wait for."""
    from urllib3.exceptions import InvalidHeader
    from urllib3.util import Retry

    try:
        after = Retry().parse_retry_after(text) if text else 0.0
    except InvalidHeader:
        return 0.0
    return min(after, _LONGEST_ASKED)


def _basic(login: Login) -> str:
    from requests.auth import _basic_auth_str

    return str(_basic_auth_str(login.user.encode(), login.secret.encode()))


def _host(url: str) -> str:
    return url.partition("://")[2].partition("/")[0].partition("?")[0].rpartition("@")[2]


def _joined(base: str, place: str) -> str:
    return place if "://" in place else f"{base}/{place.lstrip('/')}"


_SCHEME = re.compile(r"(?:^|,\s*)([A-Za-z]+)\s+(?=[A-Za-z]+=)")
_PARAMETER = re.compile(r'([A-Za-z_]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')


def _challenges(header: str) -> Iterator[tuple[str, dict[str, str]]]:
    """The challenges of a WWW-Authenticate header (RFC 9110, 11.6.1), the scheme in lower case."""
    begins = [*_SCHEME.finditer(header)]
    for number, begin in enumerate(begins):
        end = begins[number + 1].start() if number + 1 < len(begins) else len(header)
        found = _PARAMETER.findall(header[begin.end() : end])
        yield begin[1].lower(), {name.lower(): quoted or plain for name, quoted, plain in found}
    if not begins and header.strip():
        yield header.split()[0].lower(), {}


def _table(answer: requests.Response) -> dict[str, Any]:
    try:
        value = answer.json()
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _status(answer: requests.Response) -> str:
    return printable(f"{answer.status_code} {answer.reason}")


def _own_words(answer: requests.Response) -> str:
    """What the registry says of a fault, by the spec's "Error Codes"."""
    errors = _table(answer).get("errors")
    first = errors[0] if isinstance(errors, list) and errors and isinstance(errors[0], dict) else {}
    words = str(first.get("message") or first.get("code") or "").split("\n")[0]
    return f": {printable(words)[:300]}" if words else ""
