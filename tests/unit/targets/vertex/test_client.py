"""The connection to Vertex AI, with a library that is made up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from attrs import define, field

from ocicaliban import google_auth
from ocicaliban.errors import OcicalibanError, UsageError
from ocicaliban.system import process
from ocicaliban.targets.backend import Refused
from ocicaliban.targets.submit_once import CreateFault
from ocicaliban.targets.vertex import client, library
from ocicaliban.targets.vertex.client import VertexClient
from tests.unit.targets.virtual_time import VirtualClock

_PLUGIN = "Getting metadata from plugin failed with error: "


class CallError(Exception):
    """As Google's library raises them."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.grpc_status_code = SimpleNamespace(name=code)
        self.message = message


class CustomJob:
    """As the library gives one: `pb` is the message below it."""

    def __init__(self, raw: Any) -> None:
        self.raw = raw
        self.state = SimpleNamespace(name=f"JOB_STATE_{raw.state}")

    @staticmethod
    def pb(job: CustomJob) -> Any:
        return job.raw


def listed(number: int = 1, state: str = "QUEUED", **labels: str) -> CustomJob:
    at = SimpleNamespace(seconds=0, nanos=0)
    return CustomJob(
        SimpleNamespace(
            name=f"job/{number}", state=state, error=SimpleNamespace(message=""),
            labels={"ocicaliban-job": f"k{number}", "ocicaliban-attempt": "2"} | labels,
            create_time=SimpleNamespace(seconds=5, nanos=500_000_000), start_time=at, end_time=at,
        )
    )  # fmt: skip


@define
class JobService:
    """Answers by what is in `answers`, and raises what is an exception there; the last one again and again."""

    answers: list[Any] = field(factory=list)
    asked: list[Mapping[str, Any]] = field(factory=list)

    def _answer(self, **asked: Any) -> Any:
        self.asked.append(asked)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    create_custom_job = list_custom_jobs = cancel_custom_job = _answer


def connected(*answers: Any, **changes: Any) -> tuple[VertexClient, JobService]:
    service = JobService([*answers])
    loaded = library.Library(
        JobServiceClient=lambda **_: service,
        CustomJob=changes.pop("message", dict),
        faults=SimpleNamespace(GoogleAPICallError=CallError),  # type: ignore[arg-type]
    )
    made = VertexClient(
        library=loaded, client=service, project="p", region="r", host="h", clock=VirtualClock(), **changes
    )  # fmt: skip
    return made, service


def test_a_create_gives_the_name_of_the_job() -> None:
    made, service = connected(SimpleNamespace(name="job/1"))
    assert made.create(made.message({"display_name": "x"})) == "job/1"
    assert service.asked == [
        {"parent": "projects/p/locations/r", "custom_job": {"display_name": "x"}, "timeout": 60.0}
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("code", "verdict"),
    [("UNAVAILABLE", "unclear"), ("RESOURCE_EXHAUSTED", "throttled"), ("PERMISSION_DENIED", "refused")],
)
def test_a_create_that_fails_says_what_that_means(code: str, verdict: str) -> None:
    made, _ = connected(CallError(code, "words"))
    with pytest.raises(CreateFault, match="words") as caught:
        made.create({})
    assert caught.value.verdict == verdict
    told = made.explain(caught.value, " the job")
    assert isinstance(told, Refused) == (verdict == "refused") and f"the job: words ({code})" in told.message
    assert told.hint


def test_credentials_that_have_expired_are_told() -> None:
    made, _ = connected(CallError("UNAVAILABLE", f"{_PLUGIN}invalid_grant"))
    with pytest.raises(OcicalibanError, match="Google rejects the credentials: invalid_grant") as caught:
        made.check()
    assert caught.value.hint == google_auth.LOG_IN


def test_what_is_listed_comes_in_our_words_and_by_twenty_names_at_most() -> None:
    made, service = connected([listed(1, "RUNNING"), listed(2, "PENDING", **{"ocicaliban-attempt": "x"})], [])
    one, two = made.look_for(*(f"k{number}" for number in range(21)))
    assert (one.key, one.attempt, one.name, one.state, one.status) == ("k1", 2, "job/1", "running", "running")
    assert (one.created, one.started, one.ended) == (5.5, None, None)
    assert (two.attempt, two.status) == (1, "pending")
    filters = [asked["request"]["filter"] for asked in service.asked]
    assert [text.count(" OR ") + 1 for text in filters] == [20, 1] and 'labels.ocicaliban-job="k20"' in filters[1]
    assert made.look() == () and made.look("Group.1") == ()
    assert service.asked[-1]["request"]["filter"] == 'labels.ocicaliban-group="group_1"'


def test_a_question_is_repeated_while_that_may_help() -> None:
    made, service = connected(CallError("UNAVAILABLE", "away"), CallError("UNAVAILABLE", "away"), [listed()])
    assert len(made.look("g")) == 1 and len(service.asked) == 3
    made, service = connected(CallError("UNAVAILABLE", "away"))
    with pytest.raises(OcicalibanError, match="Vertex AI does not answer: away"):
        made.patient(5.0).look("g")
    assert len(service.asked) > 2 and made.clock.monotonic() < 5
    made, service = connected(CallError("PERMISSION_DENIED", "no"))
    with pytest.raises(Refused):
        made.look("g")
    assert len(service.asked) == 1


def test_a_check_asks_for_one_job_and_looks_at_the_body() -> None:
    made, service = connected([])
    made.check({"display_name": "x"})
    assert service.asked[0]["request"]["page_size"] == 1 and service.asked[0]["timeout"] == 10

    def message(body: Mapping[str, object]) -> object:
        raise KeyError("NVIDIA_TESLA_V10")

    made, service = connected([], message=message)
    with pytest.raises(UsageError, match="does not know 'NVIDIA_TESLA_V10'") as caught:
        made.check({})
    assert "google-cloud-aiplatform --upgrade" in caught.value.hint and not service.asked


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (None, {}),
        (CallError("FAILED_PRECONDITION", "it has ended"), {}),
        (CallError("NOT_FOUND", "no such job"), {"job/1": "Vertex AI does not know it"}),
        (CallError("PERMISSION_DENIED", "no"), {"job/1": "no"}),
    ],
)
def test_a_cancel_says_what_is_against_it(answer: object, told: Mapping[str, str]) -> None:
    made, _ = connected(answer)
    assert made.cancel(["job/1"]) == told


def test_a_project_is_the_one_that_is_named_or_the_credentials_or_gclouds(monkeypatch: pytest.MonkeyPatch) -> None:
    _, service = connected()
    loaded = library.Library(
        JobServiceClient=lambda **_: service, CustomJob=dict, faults=SimpleNamespace(),  # type: ignore[arg-type]
    )  # fmt: skip
    monkeypatch.setattr(library, "library", lambda: loaded)
    own, gcloud = "own", "gclouds\n"
    monkeypatch.setattr(google_auth, "credentials", lambda key_file: (object(), own))
    answer: Callable[..., str] = lambda *_, **__: gcloud  # noqa: E731
    monkeypatch.setattr(process, "ask", answer)
    assert client.connect("named", "r").project == "named"
    assert client.connect("", "r").project == "own"
    own = ""
    assert client.connect("", "r").project == "gclouds"
    gcloud = ""
    with pytest.raises(UsageError, match="no Google Cloud project"):
        client.connect("", "r")

    def missing(*_: object, **__: object) -> str:
        raise OcicalibanError("gcloud is not installed")

    monkeypatch.setattr(process, "ask", missing)
    with pytest.raises(UsageError, match="no Google Cloud project"):
        client.connect("", "r")


def test_the_address_is_the_regions_or_another_one_with_tls() -> None:
    assert client.endpoint("europe-west4", environ={}) == "europe-west4-aiplatform.googleapis.com"
    override = {"CLOUDSDK_API_ENDPOINT_OVERRIDES_AIPLATFORM": "https://localhost:9/"}
    assert client.endpoint("r", environ=override) == "localhost:9"
    with pytest.raises(UsageError, match="not sent without TLS"):
        client.endpoint("r", "http://localhost:9", environ=override)
