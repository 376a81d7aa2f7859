"""The page of a report, as far as it goes without a browser."""

from __future__ import annotations

import json
import re

from hypothesis import given
from hypothesis import strategies as st

from ocicaliban.model.job import Job, Submission
from ocicaliban.reports import html, means
from ocicaliban.reports import report as reports
from ocicaliban.reports.metrics import Curve, Metrics


def _page(name: str, value: str, group: str = "g") -> str:
    submission = Submission(target="local", group=group, user="me", host="h", project="/p", mode="run")
    jobs = [Job(id=n, key=str(n), submission=submission, parameters=((name, f"{value}{n}"),)) for n in (1, 2)]
    found = {1: Metrics(results={name: float("nan"), value: value}, notes=(value,))}
    made = reports.build(group, jobs, found, 0)
    return html.page(made, made, found, "/* plotly */")


def _data(text: str) -> dict[str, object]:
    [found] = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)
    read = json.loads(found)
    [view] = read["views"]
    assert isinstance(view, dict)
    return view


@given(name=st.text(min_size=1), value=st.text())
def test_no_text_of_a_job_ends_the_data_or_makes_an_element(name: str, value: str) -> None:
    plain = _page("plain", "text")
    text = _page(f"</script>{name}", f"<!--<script>\u2028{value}")
    assert text.lower().count("<script") == plain.lower().count("<script")
    assert text.lower().count("</script") == plain.lower().count("</script") and "<!--" not in text
    assert _data(text)["notes"] == [f"job 1: <!--<script>\u2028{value}"]


def test_a_group_s_name_is_text_and_no_part_is_looked_for_in_another() -> None:
    text = _page("@PLOTLY@", "@DATA@", "<b>@STYLE@")
    assert "<title>&lt;b&gt;@STYLE@ · ocicaliban report</title>" in text and "<b>@" not in text
    assert text.count("/* plotly */") == 1


def test_the_page_names_nothing_outside_of_itself() -> None:
    text = _page("a", "b")
    assert not re.search(r"""(src|href)\s*=|https?:|@import|url\(""", text)
    assert "default-src &#x27;none&#x27;" in text


def test_all_curves_together_stay_within_bounds() -> None:
    submission = Submission(target="local", group="g", user="me", host="h", project="/p", mode="run")
    jobs = [Job(id=n, key=str(n), submission=submission) for n in range(1000)]
    curve = Curve(steps=tuple(map(float, range(1000))), values=tuple(map(float, range(1000))))
    found = {n: Metrics(results={"loss": 1.0}, curves={"loss": curve}) for n in range(1000)}
    curves = html.page_data(reports.build("g", jobs, found, 0), found)["curves"]
    assert isinstance(curves, dict)
    assert sum(len(each["steps"]) for each in curves["loss"]) < 40_000
    assert all(each["steps"][-1] == 999 and each["values"][-1] == 999 for each in curves["loss"])
    assert html.curve_points(3) == 1000 and html.curve_points(100_000) == 50


def test_a_page_of_hundreds_of_jobs_stays_small() -> None:
    submission = Submission(target="local", group="g", user="me", host="h", project="/p", mode="run")
    jobs = [
        Job(id=n, key=str(n), submission=submission, parameters=(("lr", n / 7), ("optimizer", "adam"), ("seed", n % 5)))
        for n in range(500)
    ]
    curve = Curve(steps=tuple(map(float, range(300))), values=tuple(n / 7 for n in range(300)))
    results = {f"metric{n}": n / 7 for n in range(6)}
    found = {n: Metrics(results=results, curves={"metric1": curve, "metric2": curve}) for n in range(500)}
    made = reports.build("g", jobs, found, 0)
    assert len(html.page(made, made, found, html.plotly())) < 2_000_000


def test_the_page_of_means_has_the_single_jobs_too() -> None:
    submission = Submission(target="local", group="g", user="me", host="h", project="/p", mode="run")
    jobs = [
        Job(id=n, key=str(n), submission=submission, status="succeeded", parameters=(("lr", n % 2), ("seed", n // 2)))
        for n in range(4)
    ]
    curves = {n: Curve(steps=(0.0, 1.0), values=(float(n), n + 1.0)) for n in range(4)}
    found = {n: Metrics(results={"acc": n + 1.0}, curves={"acc": curves[n]}) for n in range(4)}
    single = reports.build("g", jobs, found, 0)
    table = means.over(single, means.seeds(single))
    data = html.views(table, single, found)["views"]
    assert isinstance(data, list)
    assert [len(view["rows"]) for view in data] == [2, 4]
    assert [row["id"] for row in data[0]["rows"]] == ["0, 2", "1, 3"]
    [first, second] = data[0]["curves"]["acc"]
    assert first["values"] == [1, 2] and second["deviations"] == [1.41, 1.41]


def test_a_page_that_is_served_may_ask_its_server_and_no_other() -> None:
    made = reports.build("g", [], {}, 0)
    text = html.page(made, made, {}, "", live=True)
    assert "connect-src &#x27;self&#x27;" in text and 'data-live="yes"' in text
    assert "connect-src" not in html.page(made, made, {}, "")
