"""`report`: a real history, the command as a user calls it, and its page in a real browser without a network."""

import csv
import functools
import getpass
import io
import json
import math
import os
import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pexpect
import pytest
from playwright.sync_api import Page, expect, sync_playwright

from ocicaliban.history import access
from ocicaliban.model.job import JobSpec, Scalar, Status, Submission
from tests.integration.program import call, command, environment, ok

CHROMIUM = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
]  # fmt: skip
EVIL = "</script><script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">"


def _path(path: Path, _: int) -> str:
    return str(path)


class Workplace:
    """A folder with a history of its own, in which groups are made and the command is called."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env = {"OCICALIBAN_DB_URL": f"sqlite:///{folder}/jobs.db"}

    def group(
        self,
        name: str,
        jobs: Sequence[tuple[Mapping[str, Scalar], Mapping[str, str]]],
        statuses: Mapping[int, Status] | None = None,
    ) -> None:
        """A group of jobs with these parameters and files in /out; all succeeded but those with another status."""
        submission = Submission(
            target="local",
            group=name,
            user=getpass.getuser(),
            host="here",
            project=str(self.folder),
            mode="run",
            module="train",
        )
        with access.open(self.env["OCICALIBAN_DB_URL"]) as known:
            specs = [JobSpec(parameters=tuple(parameters.items())) for parameters, _ in jobs]
            added = known.submit(submission, specs)
            for place, (job, (_, files)) in enumerate(zip(known.jobs(submission=added.id), jobs, strict=True)):
                status = (statuses or {}).get(place, "succeeded")
                if status == "queued":
                    continue
                out = self.folder / "out" / str(job.id)
                out.mkdir(parents=True)
                for path, text in files.items():
                    (out / path).write_text(text)
                log = self.folder / "out" / f"{job.id}.log"
                attempt = known.begin(job.id, out=str(out), log=functools.partial(_path, log), started=1000.0)
                assert attempt
                if status == "failed":
                    log.write_text("epoch 1\nTraceback (most recent call last):\nValueError: loss is NaN\n")
                if status != "running":
                    known.end(job.id, attempt.number, status, exit_code=int(status == "failed"), ended=1060.0 + place)

    def report(self, *args: str) -> str:
        return ok(self.folder, "report", *args, env=self.env).stdout

    def page(self, group: str, *args: str) -> str:
        self.report(group, "--html", "report.html", *args)
        return (self.folder / "report.html").as_uri()


def _trained(lr: float, batch: int, optimizer: str, steps: int = 60) -> tuple[dict[str, Scalar], dict[str, str]]:
    """A job that learns best at lr=0.01."""
    rate = math.exp(-((math.log10(lr) + 2) ** 2)) * (1.1 if optimizer == "adam" else 1) * (0.8 + 3.2 / batch)
    losses = [2.3 * math.exp(-3 * rate * step / steps) + 0.03 for step in range(steps)]
    lines = [json.dumps({"step": 10 * step, "train": {"loss": loss}}) for step, loss in enumerate(losses)]
    results = {"accuracy": round(1 - losses[-1] / 2.4, 4), "epochs": 3, "model": f"net-{batch}"}
    files = {"metrics.jsonl": "\n".join(lines) + "\n", "metrics.json": json.dumps(results)}
    return {"lr": lr, "batch": batch, "optimizer": optimizer, "seed": 1}, files


SWEEP = [
    _trained(lr, batch, optimizer)
    for lr in (0.0001, 0.001, 0.01, 0.1, 1.0)
    for batch in (16, 32, 64)
    for optimizer in ("sgd", "adam")
]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    made = Workplace(tmp_path_factory.mktemp("report"))
    made.group("digits-brave-otter", SWEEP)
    made.group("going", [_trained(0.1, 16, "sgd"), SWEEP[3], SWEEP[4]], {1: "running", 2: "queued"})
    seeded = [
        ({**_trained(lr, 16, "adam")[0], "seed": seed}, _trained(lr, 16 + seed, "adam")[1])
        for lr in (0.001, 0.01, 0.1)
        for seed in (1, 2, 3)
    ]
    made.group("seeded", seeded, {8: "failed"})
    broken = '{"step": 1, "loss": 0.5}\n{"step": 2, "loss": 0.4}\n{"step": 3, "lo'
    made.group("killed", [({"lr": 1}, {"metrics.jsonl": broken}), ({"lr": 2}, {"metrics.json": "[1"})], {0: "failed"})
    made.group("evil", [
        ({"a<b>": EVIL, "n": 1}, {"metrics.json": json.dumps({"score": 1, f"x{EVIL}": "\u2028'\"&lt;"})}),
        ({"a<b>": "`${alert(1)}` %{x} $\\alpha$", "n": 2}, {"metrics.jsonl": f'{{"score": 2, "{"<b>"}": 1}}\n' * 2}),
    ])  # fmt: skip
    many = [_trained(10 ** (-4 + n / 125), (16, 32, 64)[n % 3], ("sgd", "adam")[n % 2], 300) for n in range(500)]
    made.group("many", many, {7: "failed"})
    return made


def test_the_table_in_a_pipe_is_plain_and_whole(work: Workplace) -> None:
    out = work.report("digits-brave-otter", "--sort", "-accuracy").splitlines()
    assert out[0] == "digits-brave-otter: 30 jobs, 30 succeeded"
    assert out[1] == "all with seed=1"
    heads = "id status duration lr batch optimizer accuracy epochs model train.loss"
    assert " ".join(out[3].split()) == heads
    assert out[4].startswith("*") and " ".join(out[4].split()[7:10]) == "0.01 16 adam"
    assert "\x1b" not in "".join(out) and not out[4 + 30] and out[4 + 31].startswith("command: ")
    assert re.fullmatch(r"\* highest accuracy: 0\.\d+, job \d+ \(lr=0.01 batch=16 optimizer=adam\)", out[-1])


def test_seeds_are_averaged_groups_compared_and_failures_told(work: Workplace) -> None:
    out = work.report("seeded")
    assert [line.split()[-1] for line in out.splitlines() if " succeeded " in line and "jobs" not in line]
    assert re.search(r"\* highest accuracy: 0\.\d+ ± 0\.\d+, mean of 3, jobs \d+-\d+ \(lr=0.01\)", out)
    assert "failed: exit code 1" in out and "ValueError: loss is NaN" in out and "command: ocicaliban run" in out
    made = json.loads(work.report("seeded", "--json"))
    assert [len(point["jobs"]) for point in made["points"]] == [3, 3, 3] and len(made["jobs"]) == 9
    assert made["failed"][0]["lines"][-1] == "ValueError: loss is NaN"
    assert len(work.report("seeded", "--each-job").splitlines()) > len(out.splitlines())
    compared = json.loads(work.report("digits-brave-otter", "--compare", "seeded", "--json"))
    both = [point for point in compared["points"] if point["metrics"]["accuracy"]["change"] is not None]
    assert compared["groups"] == ["digits-brave-otter", "seeded"] and both
    assert "in digits-brave-otter alone" in work.report("digits-brave-otter", "--compare", "seeded")


def test_filters_columns_csv_and_json_go_together(work: Workplace) -> None:
    chosen = ("digits-brave-otter", "--where", "lr=1e-2", "--where", "optimizer!=sgd", "--sort", "batch")
    table = list(csv.reader(io.StringIO(work.report(*chosen, "--columns", "batch,acc*", "--csv", "-"))))
    assert [line[0] for line in table] == ["batch", "16", "32", "64"] and table[0] == ["batch", "accuracy"]
    found = json.loads(work.report(*chosen, "--json"))
    assert [job["parameters"]["batch"] for job in found["jobs"]] == [16, 32, 64]
    assert found["jobs"][0]["metrics"]["accuracy"] == float(table[1][1])
    whole = list(csv.DictReader(io.StringIO(work.report("digits-brave-otter", "--csv", "-"))))
    assert len(whole) == 30 and whole[0]["seed"] == "1" and "60.0" in {line["duration"] for line in whole}


def test_a_group_that_still_runs_says_so(work: Workplace) -> None:
    out = work.report("going")
    assert "going: 3 jobs" in out and "2 jobs not finished yet: results may change" in out
    assert json.loads(work.report("going", "--json"))["counts"] == {"succeeded": 1, "running": 1, "queued": 1}


def test_what_a_killed_job_left_is_told_and_the_rest_is_shown(work: Workplace) -> None:
    done = ok(work.folder, "report", "killed", env=work.env)
    assert re.search(r"note: job \d+: metrics.jsonl: the last line is incomplete", done.stderr)
    assert re.search(r"note: job \d+: metrics.json is not JSON", done.stderr)
    assert "0.4" in done.stdout


def test_results_that_are_elsewhere_are_told(work: Workplace) -> None:
    work.group("moved", [_trained(0.1, 16, "sgd")])
    with access.open(work.env["OCICALIBAN_DB_URL"]) as known:
        [job] = known.jobs(group="moved")
    os.rename(job.out, f"{job.out}.elsewhere")
    done = ok(work.folder, "report", "moved", env=work.env)
    assert f"note: job {job.id}: the results are on here, not on this machine" in done.stderr


def test_faults_are_told_in_a_line_with_what_was_meant(work: Workplace) -> None:
    for args, told in (
        (("digits-brave-oter",), "did you mean 'digits-brave-otter'?"),
        (("killed", "--sort", "los"), "did you mean 'loss'?"),
        (("killed", "--where", "loss"), "for example lr=0.1"),
        (("killed", "--csv", "no/such/folder/x.csv"), "no/such/folder"),
        (("killed", "--json", "--csv", "-"), "stdout"),
    ):
        done = call(work.folder, "report", *args, env=work.env)
        assert done.returncode and told in done.stderr and "Traceback" not in done.stderr and not done.stdout
    assert not (work.folder / "no").exists()


def test_a_narrow_terminal_gets_what_fits(work: Workplace) -> None:
    child = pexpect.spawn(
        command("report", "digits-brave-otter")[0], command("report", "digits-brave-otter")[1:], cwd=work.folder,
        env=environment({**work.env, "NO_COLOR": "1"}), dimensions=(50, 60), encoding="utf-8", timeout=60,
    )  # fmt: skip
    child.expect(pexpect.EOF)
    lines = child.before.splitlines()
    table = [line for line in lines if " succeeded " in line and "jobs" not in line]
    assert len(table) == 30 and max(map(len, table)) <= 60
    assert "accuracy" in child.before and "too wide for this terminal: " in child.before


# --- the page ---


class Seen:
    """A browser's page, with all that it complained of."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        self.asked: list[str] = []
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda fault: self.complaints.append(str(fault)))
        page.on("request", lambda request: self.asked.append(request.url))
        page.context.set_offline(True)

    def open(self, url: str, width: int = 1280, height: int = 900) -> Page:
        self.page.set_viewport_size({"width": width, "height": height})
        self.page.goto(url)
        expect(self.page.locator("#shown")).not_to_be_empty()
        return self.page


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            tmp_path_factory.mktemp("chromium"), executable_path="/usr/bin/chromium", args=CHROMIUM, headless=True
        )
        context.set_default_timeout(60_000)
        yield context
        context.close()


@pytest.fixture
def seen(browser: object) -> Iterator[Seen]:
    page = browser.new_page()  # type: ignore[attr-defined]
    made = Seen(page)
    yield made
    page.close()
    assert made.complaints == []
    assert [url for url in made.asked if not url.startswith(("file:", "data:", "blob:"))] == []


def _column(page: Page, name: str) -> list[str]:
    place = page.locator("thead th button").all_inner_texts().index(name)
    return page.locator(f"tbody tr td:nth-child({place + 1})").all_inner_texts()


def _traces(page: Page, plot: str) -> int:
    return page.locator(f"#{plot}-plot .scatterlayer .trace").count()


def _shot(page: Page, name: str) -> None:
    if folder := os.environ.get("OCICALIBAN_SCREENSHOTS"):
        page.screenshot(path=f"{folder}/{name}.png", full_page=True)


@pytest.mark.parametrize(("name", "width"), [("desktop", 1280), ("phone", 390)])
def test_the_page_shows_the_table_and_all_three_plots(work: Workplace, seen: Seen, name: str, width: int) -> None:
    page = seen.open(work.page("digits-brave-otter"), width)
    assert page.locator("tbody tr").count() == 30
    assert "Highest accuracy" in page.locator("#best").inner_text()
    assert page.locator("tbody tr.best").count() == 1
    assert _traces(page, "parallel") == 30
    assert page.locator("#scatter-plot .scatterlayer .point").count() == 30
    assert _traces(page, "curves") == 30
    assert page.locator("#curves-plot .js-line").count() == 30
    assert page.locator("#scatter-log-x").is_checked() and not page.locator("#scatter-log-y").is_checked()
    # Nothing but what scrolls by itself is wider than the screen.
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    _shot(page, name)
    page.emulate_media(color_scheme="dark")
    page.wait_for_timeout(300)
    _shot(page, f"{name}-dark")


def test_the_page_shows_means_and_the_single_jobs(work: Workplace, seen: Seen) -> None:
    page = seen.open(work.page("seeded"))
    expect(page.locator("#shown")).to_have_text("3 of 3 jobs")
    assert "mean of 3" in page.locator("#best").inner_text() and page.locator("tbody tr").first.get_attribute("class")
    assert page.locator("#curves-plot .js-fill").count() == 3  # the bands
    page.locator("#failed summary").click()
    assert "ValueError" in page.locator("#failed pre").inner_text()
    assert "ocicaliban run" in page.locator("#sources").inner_text()
    _shot(page, "seeded")
    page.get_by_label("each job").check()
    expect(page.locator("#shown")).to_have_text("9 of 9 jobs")
    spots = {point.bounding_box()["x"] for point in page.locator("#scatter-plot .scatterlayer .point").all()}  # type: ignore[index]
    assert len(spots) > 3
    page.emulate_media(color_scheme="dark")
    page.wait_for_timeout(300)
    _shot(page, "seeded-each-dark")
    page = seen.open(work.page("digits-brave-otter", "--compare", "seeded"), 390)
    assert set(_column(page, "group")) == {"digits-brave-otter", "seeded"}
    _shot(page, "compared")


def test_a_click_and_the_keyboard_sort(work: Workplace, seen: Seen) -> None:
    page = seen.open(work.page("digits-brave-otter"))
    page.get_by_role("button", name="accuracy", exact=True).click()
    values = [float(text) for text in _column(page, "accuracy")]
    assert values == sorted(values, reverse=True) and "best" in (
        page.locator("tbody tr").first.get_attribute("class") or ""
    )
    header = page.get_by_role("columnheader", name="accuracy")
    expect(header).to_have_attribute("aria-sort", "descending")
    page.keyboard.press("Enter")
    expect(header).to_have_attribute("aria-sort", "ascending")
    page.get_by_role("button", name="lr", exact=True).focus()
    page.keyboard.press("Space")
    rates = [float(text) for text in _column(page, "lr")]
    assert rates == sorted(rates)


def test_the_filter_holds_for_the_table_and_the_plots(work: Workplace, seen: Seen) -> None:
    page = seen.open(work.page("digits-brave-otter"))
    page.get_by_label("Filter").fill("lr=1e-2 optimizer!=sgd")
    expect(page.locator("#shown")).to_have_text("3 of 30 jobs")
    assert (_traces(page, "parallel"), _traces(page, "curves")) == (3, 3)
    assert page.locator("#scatter-plot .scatterlayer .point").count() == 3
    page.get_by_label("Filter").fill("net-16")
    expect(page.locator("#shown")).to_have_text("10 of 30 jobs")
    page.get_by_label("Filter").fill("lrr=1")
    expect(page.locator("#shown")).to_have_text("no column “lrr”")
    page.get_by_label("Filter").fill("accuracy>2")
    expect(page.locator("tbody")).to_have_text("No job is like that.")
    assert _traces(page, "parallel") == 0


def test_dragging_along_an_axis_keeps_the_jobs_that_pass_there(work: Workplace, seen: Seen) -> None:
    page = seen.open(work.page("digits-brave-otter"))
    page.locator("#parallel-plot").scroll_into_view_if_needed()
    drag = page.locator("#parallel-plot .draglayer .nsewdrag").bounding_box()
    assert drag
    # The axes from 0 to 3 in a range from -0.12 to 3.12; lr, the first, has 1.0 at its top.
    x = drag["x"] + drag["width"] * 0.12 / 3.24
    page.mouse.move(x - 12, drag["y"] + 4)
    page.mouse.down()
    page.mouse.move(x + 10, drag["y"] + drag["height"] * 0.15, steps=8)
    page.mouse.up()
    expect(page.locator("#shown")).to_have_text("6 of 30 jobs")
    assert set(_column(page, "lr")) == {"1.0"}
    assert _traces(page, "parallel") == 30 and _traces(page, "curves") == 6
    _shot(page, "brushed")
    page.locator("#clear").click()
    expect(page.locator("#shown")).to_have_text("30 of 30 jobs")


def test_a_job_is_marked_and_the_plots_change_their_metric(work: Workplace, seen: Seen) -> None:
    page = seen.open(work.page("digits-brave-otter"))
    page.locator("tbody tr:nth-child(4) .id button").click()
    expect(page.locator("tbody tr:nth-child(4)")).to_have_class("picked")
    page.locator("#scatter-y").select_option(label="train.loss")
    page.locator("#scatter-x").select_option(label="optimizer")
    assert page.get_by_role("button", name="Download plot as a PNG").count() == 2
    assert page.get_by_role("button", name="Share").count() == 0
    texts = page.locator("#scatter-plot .xtick").all_text_contents()
    assert texts == ["adam", "sgd"]
    page.locator("#scatter-plot").scroll_into_view_if_needed()
    hover = page.locator("#scatter-plot .scatterlayer .point").first.bounding_box()
    assert hover
    page.mouse.move(hover["x"] + hover["width"] / 2, hover["y"] + hover["height"] / 2)
    expect(page.locator("#scatter-plot .hovertext").first).to_contain_text("train.loss = ")
    _shot(page, "marked")


def test_nothing_that_a_job_names_becomes_markup(work: Workplace, seen: Seen) -> None:
    page = seen.open(work.page("evil"))
    assert page.title() == "evil · ocicaliban report"
    assert page.locator("img").count() == 0
    assert EVIL in _column(page, "a<b>")
    assert f"x{EVIL}"[:39] in page.locator("thead").inner_text()
    assert page.locator("#parallel-plot").get_by_text("a<b>").count() == 1
    _shot(page, "evil")


def test_500_jobs_and_a_group_without_results(work: Workplace, seen: Seen) -> None:
    page = seen.open(work.page("many"))
    assert page.locator("tbody tr").count() == 500
    assert _traces(page, "parallel") == 500 and _traces(page, "curves") == 500
    assert (work.folder / "report.html").stat().st_size < 2_000_000
    _shot(page, "many")
    page = seen.open(work.page("going"))
    assert page.locator("#unfinished").inner_text().startswith("2 jobs not finished")
    _shot(page, "few")


def test_the_network_is_really_shut(seen: Seen) -> None:
    """The stand-in for a network that the other tests rely on: a page that asks for one gets none."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        answer = seen.page.evaluate(f"fetch('http://127.0.0.1:{port}').then(() => 'open', () => 'shut')")
    assert answer == "shut"
    seen.complaints.clear()
    seen.asked.clear()


# --- tools that people use already ---


def test_event_files_of_tensorboard_are_curves(work: Workplace) -> None:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    work.group("events", [({"lr": lr}, {}) for lr in (0.1, 0.2)])
    with access.open(work.env["OCICALIBAN_DB_URL"]) as known:
        first, second = known.jobs(group="events")
    writer = EventFileWriter(f"{first.out}/runs/one")
    for step in range(20):
        value = Summary.Value(tag="train/loss", simple_value=1 / (step + 1))
        writer.add_event(Event(step=step, summary=Summary(value=[value])))
    writer.close()
    (Path(second.out) / "events.out.tfevents.broken").write_bytes(b"\x10" * 50)
    done = ok(work.folder, "report", "events", "--json", env=work.env)
    made = {job["id"]: job["metrics"] for job in json.loads(done.stdout)["jobs"]}
    assert made[first.id]["train/loss"] == pytest.approx(0.05) and made[second.id] == {}
    page = (work.folder / "report.html") if work.page("events") else None
    assert page and '"steps":[0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19]' in page.read_text()


def test_jobs_are_written_to_mlflow_once(work: Workplace, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    uri = f"{tmp_path.as_uri()}/runs"
    env = {**work.env, "MLFLOW_ALLOW_FILE_STORE": "true"}
    for told in ("3 runs written", "1 runs written"):  # the job that runs is written again
        done = ok(work.folder, "report", "going", "--to", "mlflow", uri, env=env)
        assert told in done.stderr or "2 runs written" in done.stderr
    os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("going")
    assert experiment
    runs = {run.data.tags["ocicaliban.job"]: run for run in client.search_runs([experiment.experiment_id])}
    assert len(runs) == 3 and {run.info.status for run in runs.values()} >= {"FINISHED", "RUNNING"}
    [done_run] = [run for run in runs.values() if run.info.status == "FINISHED"]
    assert done_run.data.params["optimizer"] == "sgd" and done_run.data.metrics["epochs"] == 3
    assert len(client.get_metric_history(done_run.info.run_id, "train.loss")) == 60
