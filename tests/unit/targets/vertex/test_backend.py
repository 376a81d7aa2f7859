"""Vertex AI as a backend."""

from __future__ import annotations

import pytest
from attrs import evolve

from ocicaliban.history.store import History
from ocicaliban.model.image import Launch
from ocicaliban.model.job import Job, JobSpec, Submission
from ocicaliban.reporter import SILENT, Reporter
from ocicaliban.targets.backend import Request, problems, stopped_unsent
from ocicaliban.targets.service_jobs import Service
from ocicaliban.targets.vertex import backend, client, logs, options
from ocicaliban.targets.vertex.backend import VertexBackend, VertexService
from ocicaliban.targets.vertex.machines import Machine
from ocicaliban.targets.vertex.options import Options
from tests.unit.targets.fake_service import FakeClient, FakeService
from tests.unit.targets.virtual_time import VirtualClock

IMAGE = "registry.example/digits@sha256:" + "a" * 64
HELD = options.to_record(Options(machine=Machine(type="n1-standard-4"), output="gs://bucket/results"))
SUBMISSION = Submission(
    group="brave-otter", user="ada", host="h", target="vertex", project="p", mode="cloud", image=IMAGE,
    options={"project_id": "rehearsal", "region": "europe-west4", "vertex": HELD},
)  # fmt: skip


def job(submission: Submission = SUBMISSION) -> Job:
    return Job(id=1, key="k1", submission=submission, args=("--lr", "0.1"))


class Faked(VertexService):
    """Vertex AI in memory."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.service = FakeService(clock=self.clock)

    def client(self, submission: Submission, patience: float | None = None) -> FakeClient:  # type: ignore[override]
        return Named(self.service)

    def body(self, job: Job, attempt: int) -> tuple[dict[str, object], tuple[str, ...]]:
        return {"key": job.key, "attempt": attempt, "group": job.submission.group}, ()


class Named(FakeClient):
    """Gives jobs names such as Vertex AI's."""

    def create(self, message: object) -> str:
        made = self.service.named(super().create(message))
        made.name = f"projects/7/locations/europe-west4/customJobs/{made.name.partition('/')[2]}"
        return made.name


def test_what_is_wrong_with_a_request_is_told_at_once() -> None:
    target = VertexBackend()
    assert problems(target, Request(job=job())) == ()
    wrong = evolve(
        SUBMISSION, image="digits:latest", launch=Launch(mounts=("/p:/usr/app",)), options={"vertex": HELD}
    )  # fmt: skip
    found = problems(target, Request(job=job(wrong), platform="linux/arm64"))
    assert [problem.message for problem in found] == [
        "the image would be for linux/arm64; Vertex AI's machines are linux/amd64",
        "digits:latest is not named by its digest",
        "the mode 'cloud' mounts folders of this machine, which Vertex AI cannot see",
    ]
    assert all(problem.hint for problem in found)


def test_a_job_goes_out_is_seen_and_is_cancelled(history: History) -> None:
    faked = Faked()
    target = VertexBackend(faked, faked.clock)
    made = history.submit(SUBMISSION, [JobSpec(), JobSpec()])
    pages: list[str] = []
    target.submit(history, made, lambda job, page: pages.append(page), SILENT)
    page = "https://console.cloud.google.com/vertex-ai/locations/europe-west4/training/1?project=7"
    assert page in pages and len(pages) == 2
    target.submit(history, made, lambda job, page: pages.append(page), SILENT, connection=target.connect(made))
    assert len(pages) == 2
    one, two = history.jobs()
    assert one.out == f"gs://bucket/results/brave-otter/{one.key}" and one.status == "pending"
    faked.clock.sleep(5)
    faked.service.jobs[0].state = faked.service.jobs[0].status = "running"
    target.observe(history, [one, two], SILENT)
    assert {each.status for each in history.jobs()} == {"running", "pending"}
    assert {each.id for each in target.cancel(history, history.jobs(), SILENT)} == {1, 2}
    target.observe(history, history.jobs(), SILENT)
    assert {each.status for each in history.jobs()} == {"stopped"}


def test_what_was_stopped_on_its_way_is_cancelled_but_not_in_a_dry_run(history: History) -> None:
    faked = Faked()
    target = VertexBackend(faked, faked.clock)
    history.submit(SUBMISSION, [JobSpec()])
    [one] = history.jobs()
    faked.service.make(one.key, 1, SUBMISSION.group)
    history.stop_queued([1])
    [one] = history.jobs()
    assert stopped_unsent(one)
    assert target.cancel_ended(history, [one], SILENT, dry_run=True) == ()
    said: list[str] = []
    assert [each.id for each in target.cancel_ended(history, [one], SILENT, wait=Reporter(said.append))] == [1]
    assert said == ["looking for 5 s whether some were on their way to Vertex AI already"]
    [one] = history.jobs()
    assert not stopped_unsent(one) and faked.service.jobs[0].state == "cancelled"


def test_where_a_submission_went_is_read_from_its_options(monkeypatch: pytest.MonkeyPatch) -> None:
    service: Service = VertexService()
    asked: list[object] = []

    class Connected:
        def patient(self, seconds: float) -> str:
            return f"patient for {seconds:g} s"

    def connect(*where: object, **key: object) -> Connected:
        asked.append((where, key))
        return Connected()

    monkeypatch.setattr(client, "connect", connect)
    assert service.place(SUBMISSION) == ("rehearsal", "europe-west4", "")
    assert service.region(evolve(SUBMISSION, options={})) == backend.REGION
    assert isinstance(service.client(SUBMISSION), Connected)
    assert str(service.client(SUBMISSION, 5.0)) == "patient for 5 s"
    assert asked == [(("rehearsal", "europe-west4"), {"key_file": ""})] * 2
    body, left_out = service.body(job(), 3)
    assert body["labels"]["ocicaliban-attempt"] == "3" and left_out == ()  # type: ignore[index]
    assert service.output(job(evolve(SUBMISSION, options={}))) == ""


def test_logs_and_results_come_from_their_services(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "read", lambda *_: iter([b"line\n"]))
    history_job = job()
    assert [*backend.BACKEND.logs(history_job, None, None, SILENT)] == [b"line\n"]  # type: ignore[arg-type]
    assert backend.BACKEND.results([history_job], SILENT) == {}
