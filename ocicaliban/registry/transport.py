"""Send requests to a registry over HTTP: TLS, proxies, timeouts and retries."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import IO, Any

import requests
import tenacity
import urllib3
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies
from urllib3.exceptions import InvalidHeader

from ocicaliban.errors import OcicalibanError
from ocicaliban.formats.text import amount
from ocicaliban.registry import failures, tls
from ocicaliban.registry.failures import RetryableError
from ocicaliban.registry.reference import Repository
from ocicaliban.reporter import Reporter

_TIMEOUT = (5.0, 10.0)  # seconds to connect, and for each answer
_PATIENT_TIMEOUT = (5.0, 30.0)
_ATTEMPTS = 5
_PATIENT_ATTEMPTS = 8
_MAX_BACKOFF = 30.0  # seconds between two attempts, unless the registry asks for a longer wait
_MAX_RETRY_AFTER = 120.0  # seconds that a registry may ask us to wait
LARGEST_ANSWER = 8 << 20  # bytes; manifests have at most 4 MiB, by the spec
_CHUNK = 1 << 16  # bytes


class Transport:
    """A session with one registry.

    429, 5xx and a dropped connection are retried a few times; `reporter` tells each retry. After `be_patient` there are
    more attempts with longer timeouts, and a registry that does not answer is retried too. `verified` says whether TLS
    with a trusted certificate is required.
    """

    def __init__(self, repository: Repository, *, verify: bool, reporter: Reporter) -> None:
        self.repository = repository
        self.verified = verify and not tls.is_insecure(repository)
        self.base_url = f"https://{repository.api_host}"
        self._reporter = reporter
        self._patient = False
        if not self.verified:
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)  # the user asked for it
        self._session = requests.Session()
        # Otherwise requests would take logins from ~/.netrc, which no other tool that pushes reads.
        self._session.trust_env = False
        if not repository.is_loopback:
            self._session.proxies.update(get_environ_proxies(self.base_url))
        self._session.mount("https://", _TlsAdapter(tls.context(repository.host, verify=self.verified)))

    def be_patient(self) -> None:
        """Retry more often from now on: this registry has answered well before."""
        self._patient = True

    def use_plain_http(self) -> None:
        """Send requests without TLS from now on."""
        self.base_url = f"http://{self.repository.api_host}"

    def send(self, method: str, url: str, headers: Mapping[str, str] | None = None, **more: Any) -> requests.Response:
        """Send a request and return the answer, whatever its status; `more` goes to `send_once`.

        Raises OcicalibanError if there is no answer, or if the registry still says "try later" after the last attempt.
        """
        backoff = tenacity.wait_exponential_jitter(initial=0.2, max=_MAX_BACKOFF)

        def wait(state: tenacity.RetryCallState) -> float:
            fault = state.outcome.exception() if state.outcome else None
            return max(backoff(state), fault.retry_after if isinstance(fault, RetryableError) else 0.0)

        def tell(state: tenacity.RetryCallState) -> None:
            fault = state.outcome.exception() if state.outcome else None
            assert isinstance(fault, RetryableError) and state.next_action
            seconds = state.next_action.sleep
            self._reporter.say(f"{fault.message}; retrying{f' in {seconds:.0f} s' if seconds >= 1 else ''}")

        loop = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(RetryableError),
            stop=tenacity.stop_after_attempt(_PATIENT_ATTEMPTS if self._patient else _ATTEMPTS),
            wait=wait,
            before_sleep=tell,
            reraise=True,
        )
        answer: requests.Response = loop(self.send_once, method, url, headers, **more)
        return answer

    def send_once(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        *,
        largest: int = LARGEST_ANSWER,
        keep: IO[bytes] | None = None,
        **more: Any,
    ) -> requests.Response:
        """Send a request once and return the answer; `more` goes to requests.

        The body of a success is written to the file `keep`, if there is one, from its beginning. Raises RetryableError
        if the request may succeed later, OcicalibanError if there is no answer, or one of more than `largest` bytes:
        a registry says how much it sends, and must not fill our memory.
        """
        timeout = _PATIENT_TIMEOUT if self._patient else _TIMEOUT
        try:
            answer = self._session.request(
                method, url, headers=headers, timeout=timeout, verify=self.verified, stream=True, **more
            )
            self._read(answer, largest, keep)
        except requests.RequestException as exc:
            raise failures.unreachable(url, exc, self.repository.host, patient=self._patient) from exc
        if answer.status_code == 429 or answer.status_code >= 500:
            after = _retry_after(answer.headers.get("Retry-After", ""))
            message = f"{failures.host_of(url)} answers {failures.status_line(answer)}"
            raise RetryableError(message, "try again later", retry_after=after)
        return answer

    def _read(self, answer: requests.Response, largest: int, keep: IO[bytes] | None) -> None:
        """Read the body of an answer. Raises OcicalibanError if it has more than `largest` bytes."""
        to = keep if keep and answer.status_code == 200 else io.BytesIO()
        to.seek(0)
        to.truncate()
        count = 0
        for part in answer.iter_content(_CHUNK):
            count += len(part)
            if count > largest:
                answer.close()
                raise OcicalibanError(
                    f"{failures.host_of(answer.url)} sends more than {amount(largest)} where less is expected",
                    "do not use it: ask the registry's owner what became of it",
                )
            to.write(part)
        answer._content = to.getvalue() if isinstance(to, io.BytesIO) else b""  # what `content` returns from now on


class _TlsAdapter(HTTPAdapter):
    """Opens connections, also those to a proxy, with a TLS context of ours."""

    def __init__(self, context: Any) -> None:
        self._context = context
        super().__init__()

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options, ssl_context=self._context)

    def proxy_manager_for(self, *args: Any, **options: Any) -> Any:
        return super().proxy_manager_for(*args, **options, ssl_context=self._context)


def _retry_after(text: str) -> float:
    """Return the seconds in a Retry-After header (RFC 9110, 10.2.3), at most two minutes; 0 if it is invalid."""
    try:
        seconds = urllib3.util.Retry().parse_retry_after(text) if text else 0.0
    except InvalidHeader:
        return 0.0
    return min(seconds, _MAX_RETRY_AFTER)
