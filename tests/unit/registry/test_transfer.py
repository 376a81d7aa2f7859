"""Uploads with skopeo: what is retried, what skopeo is told, what its failure becomes."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
import tenacity

from ocicaliban.errors import OcicalibanError, ToolError
from ocicaliban.registry import auth, transfer
from ocicaliban.registry.auth import Login
from ocicaliban.registry.reference import Destination, Repository
from ocicaliban.reporter import Reporter
from ocicaliban.system import process

HERE = Repository(host="reg.example:5000", path="me/unavailable")


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("writing blob: Patch http://h/v2/x: EOF", "temporary"),
        ("read tcp 127.0.0.1:1->127.0.0.1:2: read: connection reset by peer", "temporary"),
        ("pinging container registry h: Get http://h/: dial tcp 127.0.0.1:9: connect: connection refused", "temporary"),
        ("received unexpected HTTP status: 503 Service Unavailable", "temporary"),
        ("uploading layer chunked: StatusCode: 500, \"\"", "temporary"),
        ("toomanyrequests: slow down", "temporary"),
        ("dial tcp: lookup h: no such host", "temporary"),
        ("dial tcp 10.0.0.1:443: connect: network is unreachable", "temporary"),
        ("stream error: stream ID 5; INTERNAL_ERROR; received from peer", "temporary"),
        ("denied: Quota exceeded for quota metric 'Requests per project per user'", "temporary"),
        ("unauthorized: authentication required", "login"),
        ("denied: requested access to the resource is denied", "permanent"),
        ("name unknown: repository name not known to registry", "permanent"),
        ("proxyconnect tcp: Proxy Authentication Required", "permanent"),
        ("x509: certificate signed by unknown authority", "permanent"),
        ("writing manifest: sha256:5005000 manifest invalid", "permanent"),
        ("received unexpected HTTP status: 413 Request Entity Too Large", "permanent"),
        ("writing blob: uploading layer chunked: unknown: to order", "unknown"),
        # Names are no faults.
        ("docker://reg.example:5000/me/unavailable:401: denied: no", "permanent"),
        ("Get http://reg.example:5000/v2/me/unavailable/blobs/x: denied: no", "permanent"),
    ],
)  # fmt: skip
def test_what_can_pass_is_told_from_what_cannot(words: str, kind: str) -> None:
    assert transfer.classify(words, Destination(repository=HERE, tag="401")) == kind


def test_the_tools_words_are_shown_without_its_form_its_states_and_secrets() -> None:
    line = r'time="2026" level=fatal msg="Patch \"http://h/v2/x/blobs/uploads/1?_state=abc%3D\": EOF with hush"'
    assert transfer.skopeo_message(f"other\n{line}\n", "hush") == 'Patch "http://h/v2/x/blobs/uploads/1": EOF with ****'


class Skopeo:
    """Replaces the program: fails with each of `failures` in turn, and then succeeds."""

    def __init__(self, *failures: str) -> None:
        self.failures = list(failures)
        self.calls: list[tuple[str, ...]] = []
        self.auth_files: list[object] = []

    def run(self, argv: Sequence[str], *, cwd: Path) -> str:
        self.calls.append(tuple(argv))
        if "--authfile" in argv:
            self.auth_files.append(json.loads(Path(argv[argv.index("--authfile") + 1]).read_text()))
        if self.failures:
            raise ToolError("skopeo failed", stderr=self.failures.pop(0))
        return ""


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds of each wait between two attempts; none is really waited for."""
    seconds: list[float] = []
    monkeypatch.setattr(tenacity.nap, "time", SimpleNamespace(sleep=seconds.append))
    return seconds


@pytest.fixture
def skopeo(monkeypatch: pytest.MonkeyPatch, waits: list[float]) -> Iterator[Callable[..., Skopeo]]:
    def make(*failures: str, login: Login | None = None) -> Skopeo:
        made = Skopeo(*failures)
        monkeypatch.setattr(process, "run", made.run)
        monkeypatch.setattr(auth, "find_login", lambda repository, *, key_file: login)
        return made

    yield make


def upload(
    lines: list[str], *, verified: bool = True, check_login: Callable[[], object] = lambda: pytest.fail("checked")
) -> None:
    transfer.upload(
        Path("/folder"), Destination(repository=HERE, tag="v1"), verified=verified, check_login=check_login,
        reporter=Reporter(lines.append),
    )  # fmt: skip


def test_an_upload_names_the_layout_and_the_destination(skopeo: Callable[..., Skopeo]) -> None:
    tool = skopeo(login=Login(user="me", secret="hush", source="auth.json"))
    upload([])
    upload([], verified=False)
    first, second = tool.calls
    assert first[-2:] == ("oci:image", "docker://reg.example:5000/me/unavailable:v1")
    assert set(second) - set(first) == {"--dest-tls-verify=false"} and "hush" not in " ".join(first)
    assert not tool.auth_files


def test_a_login_that_skopeo_cannot_find_is_given_to_it_in_a_file(skopeo: Callable[..., Skopeo]) -> None:
    tool = skopeo(login=Login(user="me", secret="hush", source="x", unknown_to_tools=True))
    upload([])
    assert tool.auth_files == [{"auths": {HERE.host: {"auth": "bWU6aHVzaA=="}}}]
    assert "hush" not in " ".join(tool.calls[0])


def test_a_temporary_failure_is_retried_and_told_without_the_secret(
    skopeo: Callable[..., Skopeo], waits: list[float]
) -> None:
    tool = skopeo("EOF with hush", "connection reset", login=Login(user="me", secret="hush", source="x"))
    lines: list[str] = []
    upload(lines)
    assert len(tool.calls) == 3 and len(waits) == 2 and waits[0] < waits[1] + 1
    assert [line.partition("; ")[0] for line in lines] == [f"{HERE}: EOF with ****", f"{HERE}: connection reset"]
    assert all(re.search(r"; retrying in \d s$", line) for line in lines)


@pytest.mark.parametrize(("failure", "attempts"), [("EOF", 8), ("to order", 3)])
def test_retries_end(failure: str, attempts: int, skopeo: Callable[..., Skopeo]) -> None:
    tool = skopeo(*[failure] * 20)
    with pytest.raises(ToolError, match=failure) as caught:
        upload([])
    assert len(tool.calls) == attempts and "push again" in caught.value.hint


def test_a_permanent_failure_is_not_retried(skopeo: Callable[..., Skopeo]) -> None:
    tool = skopeo("denied: no")
    with pytest.raises(OcicalibanError, match=r"the push failed: .*denied: no"):
        upload([])
    assert len(tool.calls) == 1


def test_a_refused_login_is_checked_before_the_retry(skopeo: Callable[..., Skopeo]) -> None:
    tool = skopeo("unauthorized", "unauthorized")
    checks: list[int] = []

    def check_login() -> None:
        checks.append(len(tool.calls))
        if len(checks) == 2:
            raise OcicalibanError("wrong password")

    with pytest.raises(OcicalibanError, match="wrong password"):
        upload([], check_login=check_login)
    assert checks == [1, 2]
