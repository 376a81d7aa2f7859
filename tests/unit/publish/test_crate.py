"""An experiment as an RO-Crate: what rocrate-validator requires, without its files."""

from __future__ import annotations

import json
import math

from attrs import evolve

from ocicaliban.jobs.origin import Origin
from ocicaliban.publish import crate, documents
from tests.unit.publish.test_experiment import JOB, MADE

JOBS = [evolve(JOB, number=number, results={"loss": math.nan, "eval/acc": 0.5}) for number in (1, 2)]
PARTS = [
    documents.head(MADE),
    *documents.others(JOBS, Origin(program="1", sweep_name="s.json", sweep="{}", files={"a b/ä.lock": "x"})),
]


def test_each_document_and_each_job_is_described() -> None:
    made = json.loads(crate.metadata(MADE, JOBS, PARTS, "ghcr.io/me/digits"))
    by_id = {each["@id"]: each for each in made["@graph"]}
    assert len(by_id) == len(made["@graph"]), "each entity has an id of its own"
    root = by_id["./"]
    assert (
        by_id["ro-crate-metadata.json"]["about"] == {"@id": "./"} and {"name", "description", "license"} < root.keys()
    )
    assert {each["@id"] for each in root["hasPart"]} == {
        "experiment.json", "jobs.jsonl.gz", "sweep/s.json", "a%20b/%C3%A4.lock",
    }  # fmt: skip
    assert {each["@id"] for each in root["mentions"]} == {"#job-1", "#job-2"}
    for each in (by_id[place["@id"]] for place in root["mentions"]):
        assert each["instrument"]["@id"] in by_id and each["containerImage"]["@id"] in by_id
        assert all(place["@id"] in by_id for place in (*each["object"], *each["result"]))
    assert by_id["#job-2-metric-loss"]["value"] == "nan" and by_id["#job-2-metric-eval%2Facc"]["value"] == 0.5
    image = by_id["#image"]
    assert (image["registry"], image["name"], image["sha256"]) == ("ghcr.io", "me/digits", "a" * 64)


def test_an_experiment_of_which_little_is_known_has_a_crate_too() -> None:
    bare = evolve(MADE, module="", command=(), commit="", remote="git@example.org:x.git", jobs=0)
    made = json.loads(crate.metadata(bare, [], [documents.head(bare)], "oci:/x"))
    [tool] = [each for each in made["@graph"] if each["@id"] == "#program"]
    assert tool["name"] == "run" and tool["softwareVersion"] == "unknown" and "url" not in tool
