"""publish and reproduce against Debian's docker-registry, on one machine and on another, and if the registry fails."""

import gzip
import json
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ocicaliban.containers import oci_layout
from ocicaliban.registry.artifacts import ArtifactClient
from ocicaliban.registry.reference import parse_repository
from ocicaliban.reporter import SILENT
from tests.folders import write
from tests.integration.program import CONFIG, Done, call, ok
from tests.integration.registries import Registry

OPEN = "--tls-verify=false"
TRAIN = """
import json, sys
rate, seed = float(sys.argv[2]), int(sys.argv[4])
with open("/out/metrics.jsonl", "w") as file:
    for step in range(3):
        print(json.dumps({"step": step, "loss": 1 / (1 + step + rate + seed)}), file=file)
with open("/out/metrics.json", "w") as file:
    json.dump({"accuracy": 1 - rate / (2 + seed), "name": "digits"}, file)
"""


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    made = Registry(tmp_path_factory.mktemp("registry"))
    yield made
    made.stop()


def git(folder: Path, *words: str) -> None:
    who = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
    subprocess.run(["git", "-C", str(folder), *who, *words], check=True, capture_output=True)


def blob(registry: Registry, digest: str) -> Path:
    """The file of a blob."""
    hexadecimal = digest.removeprefix("sha256:")
    return registry.data / "docker/registry/v2/blobs/sha256" / hexadecimal[:2] / hexadecimal / "data"


def elsewhere(folder: Path, *words: str, state: Path) -> Done:
    """A command on a machine that has neither the project nor its history."""
    return call(folder, *words, env={"XDG_STATE_HOME": str(state)})


def test_an_experiment_is_published_and_reproduced(registry: Registry, tmp_path: Path) -> None:
    project, empty = tmp_path / "digits", tmp_path / "empty"
    empty.mkdir()
    sweep = '{"rate": [0.1, 0.2],  # as in the paper\n "seed": [0, 1]}\n'
    write(project, {"ocicaliban.toml": CONFIG, "train.py": TRAIN, "sweep.json": sweep})
    git(project, "init", "-q")
    git(project, "remote", "add", "origin", "https://ada:hunter2@example.org/digits.git")
    ok(project, "build", "--mode", "run", "--nogpu", "train.py")  # it writes the lock, which belongs to the commit
    git(project, "add", "-A")
    git(project, "commit", "-q", "-m", "First")
    repository = f"{registry.host}/ada/digits"
    ok(project, "run", "-g", "paper", "--experiment-config", "sweep.json", "--out", str(tmp_path / "out"), "train.py")
    # What is published is what ran, not what the project is now.
    (project / "sweep.json").write_text("{}")

    listing = ok(project, "publish", "paper", "--to", repository, OPEN, "--dry-run").stdout
    assert "4 jobs" in listing and "--rate 0.2 --seed 1" in listing and "sweep/sweep.json" in listing
    assert not any(registry.data.rglob("data")), "a dry run sends nothing"
    refused = call(project, "publish", "paper", "--to", repository, OPEN)
    assert refused.returncode == 2 and "add --yes" in refused.stderr
    for name in ("key", "other"):
        key = ["-out", str(tmp_path / f"{name}.pem")]
        subprocess.run(["openssl", "ecparam", "-genkey", "-name", "prime256v1", "-noout", *key], check=True)
        public = ["-in", str(tmp_path / f"{name}.pem"), "-pubout", "-out", str(tmp_path / f"{name}.pub")]
        subprocess.run(["openssl", "ec", *public], check=True, capture_output=True)
    more = ("--with-git", "--with-results", "--sign-key", str(tmp_path / "key.pem"), "--crate", str(tmp_path / "crate"))
    done = ok(project, "publish", "paper", "--to", repository, OPEN, "--yes", "--json", *more)
    reference = json.loads(done.stdout)["reference"]
    assert {"ro-crate-metadata.json", "sbom.cdx.json", "results"} <= {
        path.name for path in (tmp_path / "crate").iterdir()
    }
    ok(empty, "inspect", reference, OPEN, "--verify-key", str(tmp_path / "key.pub"))
    refused = call(empty, "inspect", reference, OPEN, "--verify-key", str(tmp_path / "other.pub"))
    assert refused.returncode == 1 and "is not signed by the key" in refused.stderr

    shown = json.loads(ok(empty, "inspect", reference, OPEN, "--json").stdout)
    made, jobs = shown["experiment"], shown["jobs"]
    assert made["source"]["remote"] == "https://example.org/digits.git" and len(made["source"]["commit"]) == 40
    assert made["machine"]["processor"] and made["sweep"] == "sweep.json" and len(jobs) == 4
    assert jobs[0]["metrics"] == {"accuracy": 0.95, "name": "digits", "loss": jobs[0]["curves"]["loss"]["values"][-1]}
    by_name = {file["name"]: file for file in shown["files"]}
    assert blob(registry, by_name["sweep/sweep.json"]["digest"]).read_text() == sweep
    bundle = blob(registry, by_name["source.bundle"]["digest"])
    subprocess.run(["git", "clone", "-q", "-b", "published", str(bundle), str(tmp_path / "clone")], check=True)
    assert (tmp_path / "clone" / "sweep.json").read_text() == sweep
    texts = b"".join(
        gzip.decompress(data) if name.endswith(".gz") else data
        for name, file in by_name.items()
        for data in [blob(registry, file["digest"]).read_bytes()]
    )
    assert b"hunter2" not in texts and str(tmp_path).encode() not in texts
    [row] = json.loads(ok(empty, "list", repository, OPEN, "--json").stdout)
    assert (row["tag"], row["reference"], row["jobs"]) == ("paper", reference, 4)

    image = made["image"]["config"].removeprefix("sha256:")
    subprocess.run(["podman", "rmi", "-f", image], check=True, capture_output=True)
    state = tmp_path / "state"
    again = elsewhere(empty, "reproduce", reference, OPEN, "--jobs", "3", "--yes", "--json", state=state)
    assert again.returncode == 0, again.stderr
    told = json.loads(again.stdout)
    assert told["agrees"] and len(told["metrics"]) == 9 and {each["job"] for each in told["metrics"]} == {1, 2, 3}
    report = elsewhere(empty, "report", told["group"], "--json", state=state)
    assert len(json.loads(report.stdout)["jobs"]) == 3

    # A registry that has other bytes, or has lost some.
    jobs_file = blob(registry, by_name["jobs.jsonl.gz"]["digest"])
    data = jobs_file.read_bytes()
    for changed, words in ((data[:-1] + b"!", "other contents than its digest says"), (None, "")):
        jobs_file.unlink() if changed is None else jobs_file.write_bytes(changed)
        refused = elsewhere(empty, "reproduce", reference, OPEN, "--yes", state=state)
        assert refused.returncode == 1 and words in refused.stderr and "Traceback" not in refused.stderr
    jobs_file.write_bytes(data)

    # Somebody moves the tag to another experiment: its digest still names this one.
    ok(project, "publish", "paper", "--to", repository, OPEN, "--yes", "--tag", "v2", "--json")
    subprocess.run(
        ["skopeo", "copy", "-q", "--src-tls-verify=false", "--dest-tls-verify=false",
         f"docker://{repository}:v2", f"docker://{repository}:paper"],
        check=True, capture_output=True,
    )  # fmt: skip
    assert json.loads(ok(empty, "inspect", f"{repository}:paper", OPEN, "--json").stdout)["reference"] != reference
    assert json.loads(ok(empty, "inspect", reference, OPEN, "--json").stdout) == shown


def test_what_cannot_be_published_says_what_to_do(registry: Registry, tmp_path: Path) -> None:
    repository = f"{registry.host}/ada/other"
    write(tmp_path, {"ocicaliban.toml": CONFIG, "train.py": "import sys\n", "sweep.json": '{"a": [1]}'})
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-q", "-m", "First")
    (tmp_path / "train.py").write_text("import sys  # changed\n")
    out = tmp_path.parent / f"{tmp_path.name}-out"
    ok(tmp_path, "run", "-g", "dirty", "--experiment-config", "sweep.json", "--out", str(out), "train.py", "--", "-q")
    words = ("publish", "dirty", "--to", repository, OPEN, "--yes")
    refused = call(tmp_path, *words)
    assert refused.returncode == 2 and "--dirty" in refused.stderr
    for folder in out.iterdir():
        folder.rename(folder.with_name(f"{folder.name}-gone"))
    refused = call(tmp_path, *words, "--dirty")
    assert refused.returncode == 2 and "--without-metrics" in refused.stderr
    assert call(tmp_path, "publish", "nothing", "--to", repository, OPEN).returncode == 2
    ok(tmp_path, *words, "--dirty", "--without-metrics")


def test_twenty_artifacts_at_once_are_all_found(registry: Registry) -> None:
    kind = "application/vnd.example.v1"
    repository = parse_repository(f"{registry.host}/ada/many")

    def client() -> ArtifactClient:
        made = ArtifactClient(repository, lambda: None, verify=False, reporter=SILENT)
        made.reach()
        return made

    first = client()
    empty = first.put_blob(b"{}")
    config = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": empty.digest, "size": empty.size}
    image = {"schemaVersion": 2, "mediaType": oci_layout.MANIFEST, "config": config, "layers": []}
    first.put_manifest("image", oci_layout.canonical_json(image))
    found = first.get_manifest("image")
    assert found
    subject = {"mediaType": oci_layout.MANIFEST, "digest": found[0], "size": len(found[1])}

    def attach(number: int) -> str:
        notes = {"number": str(number)}
        artifact = {**image, "artifactType": kind, "subject": subject, "annotations": notes}
        return client().attach(oci_layout.canonical_json(artifact))

    with ThreadPoolExecutor(20) as pool:
        digests = {*pool.map(attach, range(20))}
    assert len(digests) == 20 and {*client().referrers(found[0], kind)} == digests
