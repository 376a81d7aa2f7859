"""JobService and the gate before it: what is carried out, what is refused, and which answers are lost."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from google.cloud.aiplatform_v1 import types
from google.cloud.aiplatform_v1.types import CustomJob, JobState

from ocicaliban.emulator.faults import FaultInjector, Faults
from ocicaliban.emulator.identity import CloudProject, ServiceAccount
from ocicaliban.emulator.job_service import JobService, Region
from ocicaliban.emulator.job_store import JobRecord, JobStore
from ocicaliban.emulator.rpc import RequestGate
from tests.unit.emulator.samples import PARENT, Call, Context, Refused, custom_job


class Account(ServiceAccount):
    """Lets in who says so; to make a key takes a while."""

    def __init__(self) -> None:
        pass

    def is_authorized(self, authorization: str) -> bool:
        return authorization == "Bearer right"


class Runner:
    """Notes jobs, and ends those that are cancelled."""

    def __init__(self, jobs: JobStore) -> None:
        self.jobs = jobs
        self.submitted: list[JobRecord] = []

    def submit(self, record: JobRecord) -> None:
        self.submitted.append(record)

    def cancel(self, record: JobRecord) -> None:
        self.jobs.set_state(record, JobState.JOB_STATE_CANCELLED)


class Service:
    """A service, and calls to it as gRPC's server makes them."""

    def __init__(self) -> None:
        self.jobs, self.faults, self.over = JobStore(), FaultInjector(), threading.Event()
        self.runner = Runner(self.jobs)
        self.project = CloudProject(id="rehearsal")
        region = Region(project=self.project, id="us-central1")
        service = JobService(region, self.jobs, self.runner, self.faults, self.over)  # type: ignore[arg-type]
        self.handler = service.handler(RequestGate(Account(), self.faults, self.over))

    def call(self, method: str, request: Any, authorization: str = "Bearer right") -> bytes:
        handler = self.handler.service(Call(method=f"/google.cloud.aiplatform.v1.JobService/{method}"))
        assert handler is not None
        raw = type(request).serialize(request)
        answer = handler.unary_unary(handler.request_deserializer(raw), Context(authorization))
        return bytes(handler.response_serializer(answer))

    def create(self, job: CustomJob | None = None, parent: str = PARENT) -> CustomJob:
        request = types.CreateCustomJobRequest(parent=parent, custom_job=job or custom_job())
        return CustomJob.deserialize(self.call("CreateCustomJob", request))

    def get(self, name: str) -> CustomJob:
        return CustomJob.deserialize(self.call("GetCustomJob", types.GetCustomJobRequest(name=name)))

    def list(self, **request: object) -> types.ListCustomJobsResponse:
        asked = types.ListCustomJobsRequest(**{"parent": PARENT, **request})
        return types.ListCustomJobsResponse.deserialize(self.call("ListCustomJobs", asked))

    def cancel(self, name: str) -> None:
        self.call("CancelCustomJob", types.CancelCustomJobRequest(name=name))


@pytest.fixture
def service() -> Service:
    return Service()


def test_a_job_is_created_listed_found_and_cancelled(service: Service) -> None:
    job = service.create()
    assert job.name.startswith(f"projects/{service.project.number}/locations/us-central1/customJobs/")
    assert [record.job.name for record in service.runner.submitted] == [job.name]
    by_id = job.name.replace(service.project.number, "rehearsal")
    assert service.get(by_id) == service.get(job.name) == job
    assert [each.name for each in service.list(filter='state="JOB_STATE_QUEUED"').custom_jobs] == [job.name]
    service.cancel(by_id)
    assert service.get(job.name).state == JobState.JOB_STATE_CANCELLED
    service.cancel(job.name)


def test_only_the_account_is_let_in(service: Service) -> None:
    for authorization in ("", "Bearer wrong"):
        with pytest.raises(Refused, match="UNAUTHENTICATED"):
            service.call("ListCustomJobs", types.ListCustomJobsRequest(parent=PARENT), authorization)


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"filter": 'state="FOO"'}, "INVALID_ARGUMENT: Invalid filter or page token: 'FOO' is not a value of state"),
        ({"page_token": "~"}, "page token"),
        ({"read_mask": {"paths": ["nonsense"]}}, "there is no field 'nonsense'"),
        ({"parent": "projects/rehearsal"}, "Invalid resource name"),
        ({"parent": f"{PARENT}/customJobs/1"}, "Invalid resource name"),
        ({"parent": "projects/rehearsal/locations/europe-west4"}, "does not serve the location"),
        ({"parent": "projects/other/locations/us-central1"}, "PERMISSION_DENIED"),
    ],
)
def test_a_list_that_the_service_would_refuse_is_refused(
    request_: dict[str, object], words: str, service: Service
) -> None:
    with pytest.raises(Refused) as caught:
        service.list(**request_)
    assert words in str(caught.value)


def test_a_job_that_does_not_exist_is_not_found(service: Service) -> None:
    with pytest.raises(Refused, match="NOT_FOUND"):
        service.get(f"{PARENT}/customJobs/1")


@pytest.mark.parametrize(
    ("faults", "words"),
    [
        (Faults(expired=True), "UNAUTHENTICATED"),
        (Faults(denied=True), "PERMISSION_DENIED: Permission 'aiplatform.customJobs.create'"),
        (Faults(unavailable_every=1), "UNAVAILABLE: The service is currently"),
        (Faults(no_quota=("CPU",)), "RESOURCE_EXHAUSTED: The following quota metrics"),
        (Faults(refused_machines=("n1-standard-4",)), "INVALID_ARGUMENT: Machine type"),
    ],
)
def test_injected_faults_refuse_a_create_and_nothing_is_created(faults: Faults, words: str, service: Service) -> None:
    service.faults.replace(faults)
    with pytest.raises(Refused, match=words):
        service.create()
    assert not service.jobs.records() and not service.runner.submitted


def test_creates_of_a_minute_are_limited(service: Service) -> None:
    service.faults.replace(Faults(per_minute=2))
    service.create()
    service.create()
    with pytest.raises(Refused, match="RESOURCE_EXHAUSTED: Quota exceeded"):
        service.create()


def test_a_lost_answer_is_of_a_job_that_was_created(service: Service) -> None:
    service.faults.replace(Faults(lost_every=2))
    service.create()
    with pytest.raises(Refused, match="UNAVAILABLE: Socket closed"):
        service.create()
    assert len(service.jobs.records()) == 2


def test_a_job_whose_answer_is_lost_may_be_created_later(service: Service) -> None:
    service.faults.replace(Faults(lost_every=1, lost_late=0.05))
    with pytest.raises(Refused):
        service.create()
    assert not service.jobs.records()
    end = time.monotonic() + 10
    while not service.jobs.records() and time.monotonic() < end:
        time.sleep(0.01)
    assert len(service.runner.submitted) == 1


def test_an_answer_may_be_lost_until_the_emulator_ends(service: Service) -> None:
    service.faults.replace(Faults(lost_every=1, lost_as="deadline"))
    threading.Timer(0.05, service.over.set).start()
    with pytest.raises(Refused):
        service.create()


def test_lists_may_be_denied_or_late(service: Service) -> None:
    job = service.create()
    service.faults.replace(Faults(lists_late=60))
    assert not service.list().custom_jobs and service.get(job.name)
    service.faults.replace(Faults(lists_denied=True))
    with pytest.raises(Refused, match="PERMISSION_DENIED"):
        service.list()
    assert service.get(job.name)


def test_the_cancel_of_a_job_that_has_ended_may_be_refused(service: Service) -> None:
    job = service.create()
    service.faults.replace(Faults(ended_refuses=True))
    service.cancel(job.name)
    with pytest.raises(Refused, match=r"FAILED_PRECONDITION: .*JOB_STATE_CANCELLED"):
        service.cancel(job.name)


def test_nothing_is_answered_after_the_end(service: Service) -> None:
    service.over.set()
    with pytest.raises(Refused, match="UNAVAILABLE: The emulator has ended"):
        service.list()
