"""The measures of the cloud, with the emulator of Vertex AI and a registry on loopback."""

from __future__ import annotations

import itertools
import json
import os
import random
import shlex
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from attrs import frozen

from tests.bench.measure import Measure, Sample
from tests.bench.workshop import SCRIPT, BenchError, Project, Workshop
from tests.integration.registries import Proxy, Registry

TOOLS = ("podman", "buildah", "mmdebstrap", "skopeo", "docker-registry")


# --- the service and the registry ---


@contextmanager
def _emulator(shop: Workshop, latency: float = 0.0) -> Iterator[Mapping[str, str]]:
    """Start an emulator whose jobs stay queued and whose answers take `latency` seconds longer; yield its variables."""
    faults = shop.folder / "faults.toml"
    faults.write_text(f"latency = {latency}\n")
    place = shop.folder / "emulator"
    argv = (*shop.command, "dev", "vertex-emulator", "--jobs", "0", "--folder", str(place), "--faults", str(faults))
    child = subprocess.Popen(
        argv, env=shop.environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )  # with --jobs 0 it writes one line, when it is ready
    try:
        assert child.stdout and child.stderr
        told = child.stderr.readline()
        if "is ready" not in told:
            raise BenchError(f"{shlex.join(argv)} did not start\n{told}{child.stderr.read()}")
        # Its output is a line for each variable.
        os.set_blocking(child.stdout.fileno(), False)
        lines = (shlex.split(line.removeprefix("export "))[0] for line in child.stdout)
        yield dict(line.split("=", 1) for line in lines)
    finally:
        child.terminate()
        child.communicate()


@contextmanager
def _registry(shop: Workshop) -> Iterator[Registry]:
    folder = Path(tempfile.mkdtemp(prefix="registry-", dir=shop.folder))
    started = Registry(folder)
    try:
        yield started
    finally:
        started.stop()


# --- hundreds of jobs ---

JOBS = 500
AFTER_EACH_OTHER = 25  # these take seconds; the rest is calculated
LATENCY = 0.1


@contextmanager
def _submit(shop: Workshop) -> Iterator[Sequence[Sample]]:
    image = f"127.0.0.1:9/bench@sha256:{'0' * 64}"
    with _emulator(shop, LATENCY) as variables:
        env = {**variables, "PYTHONPATH": str(shop.checkout)}

        def seconds(how: str, count: int) -> float:
            took = shop.timed((sys.executable, "-m", "tests.bench.submitter", how, image, str(count)), env=env)
            return float(took.out.splitlines()[-1])

        seconds("beside", 1)
        yield (
            lambda: seconds("beside", JOBS),
            lambda: seconds("after", AFTER_EACH_OTHER) * JOBS / AFTER_EACH_OTHER,
        )


# --- an edit ---

# As Google's documentation shows it. ocicaliban imports `google.cloud.aiplatform_v1` alone, in half the time.
_BY_HAND = """\
import sys
from google.cloud import aiplatform
project, region, endpoint, image = sys.argv[1:]
aiplatform.init(project=project, location=region, api_endpoint=endpoint, staging_bucket="gs://bench")
pool = {"machine_spec": {"machine_type": "n1-standard-8"}, "replica_count": 1, "container_spec": {"image_uri": image}}
aiplatform.CustomJob(display_name="bench", worker_pool_specs=[pool]).submit()
"""


def _code(seed: int, size: int) -> str:
    """Return text of about `size` bytes that gzip compresses as well as code, to a quarter."""
    chance = random.Random(seed)
    names = ["".join(chance.choices("abcdefghijklmnop_", k=chance.randrange(3, 9))) for _ in range(300)]
    lines = (
        f"{chance.choice(names)} = {chance.choice(names)}({chance.choice(names)}, {chance.random():.3f})\n"
        for _ in itertools.count()
    )
    text = ""
    while len(text) < size:
        text += next(lines)
    return text


def _files() -> dict[str, str | bytes]:
    """Return the files of an ordinary project: 5.6 MB in 200 files, and 0.6 MB of code under development."""
    still = {f"package/part{number:03}.py": _code(number, 28_000) for number in range(200)}
    worked_on = {f"trainer/part{number:02}.py": _code(1000 + number, 30_000) for number in range(20)}
    return {**still, **worked_on, SCRIPT: "from trainer import model\n", "trainer/model.py": "RATE = 0\n"}


def _edit(project: Project, number: int) -> None:
    project.write("trainer/model.py", f"RATE = {number}\n")


@frozen(kw_only=True)
class _Sent:
    """A project whose image `ocicaliban cloud` pushes to a repository."""

    project: Project
    to: str
    variables: Mapping[str, str]

    def submit(self) -> float:
        """Submit its one job and return the seconds that it took."""
        argv = (*self.project.workshop.command, "cloud", "--to", self.to, "--tls-verify=false", SCRIPT)
        return self.project.workshop.timed(argv, self.project.folder, self.variables).wall


@contextmanager
def _edited(shop: Workshop) -> Iterator[Sequence[Sample]]:
    numbers = itertools.count(1)

    def edited(project: Project, submit: Callable[[], float]) -> float:
        _edit(project, next(numbers))
        return submit()

    with _registry(shop) as registry, _emulator(shop) as variables:
        mine = _Sent(project=shop.project("cloud", _files()), to=f"{registry.host}/mine", variables=variables)
        mine.submit()
        shop.made(mine.project.images("cloud"))
        theirs = shop.project("cloud-plain", _files())
        containerfile = shop.folder / "cloud.Containerfile"
        containerfile.write_text(theirs.containerfile("cloud"))
        script, told = shop.folder / "by_hand.py", shop.folder / "digest"
        script.write_text(_BY_HAND)
        host = variables["CLOUDSDK_API_ENDPOINT_OVERRIDES_AIPLATFORM"].removeprefix("https://").rstrip("/")

        def by_hand() -> float:
            tag = shop.tag("cloud", next(numbers))
            build = ("buildah", "build", "--layers", "--pull=never", "--tag", tag, "--file", str(containerfile), ".")
            push = ("buildah", "push", "--tls-verify=false", "--digestfile", str(told), tag)
            shop.made([tag])
            took = shop.timed(build, theirs.folder).wall
            took += shop.timed((*push, f"docker://{registry.host}/theirs:latest")).wall
            image = f"{registry.host}/theirs@{told.read_text().strip()}"
            words = (sys.executable, str(script), variables["GOOGLE_CLOUD_PROJECT"], "us-central1", host, image)
            return took + shop.timed(words, env=variables).wall

        by_hand()
        yield partial(edited, mine.project, mine.submit), partial(edited, theirs, by_hand)


@contextmanager
def _pushed(shop: Workshop) -> Iterator[Sequence[Sample]]:
    numbers = itertools.count(1)
    with _registry(shop) as registry, _emulator(shop) as variables:
        proxy = Proxy(registry.host)
        mine = _Sent(project=shop.project("push", _files()), to=f"{proxy.host}/mine", variables=variables)
        layers: dict[str, int] = {}
        new: list[int] = []

        def submit() -> None:
            """Submit, and set `new` to the compressed sizes of the layers that the registry did not have before."""
            mine.submit()
            now = _layers(registry.host)
            new[:] = [size for digest, size in now.items() if digest not in layers]
            layers.update(now)

        def sent() -> float:
            _edit(mine.project, next(numbers))
            proxy.forget()
            submit()
            if len(new) != 1 or not 100_000 < new[0] < 400_000:  # that of the folder trainer
                raise BenchError(f"one layer of 100 to 400 kB should be new after an edit, but there are {new}")
            return float(proxy.sent)

        try:
            submit()
            shop.made(mine.project.images("cloud"))
            yield sent, lambda: float(new[0])
        finally:
            proxy.stop()


def _layers(host: str) -> dict[str, int]:
    """Return the sizes of the layers of the image that was pushed last, by digest, as the registry has them."""
    accept = {"Accept": "application/vnd.oci.image.manifest.v1+json"}
    asked = urllib.request.Request(f"http://{host}/v2/mine/manifests/latest", headers=accept)
    with urllib.request.urlopen(asked, timeout=10) as answer:
        return {layer["digest"]: layer["size"] for layer in json.load(answer)["layers"]}


MEASURES: tuple[Measure[Workshop], ...] = (
    Measure(
        name="submit",
        what=f"{JOBS} jobs to a service that takes 0.1 s for each answer: as `cloud` submits them, against one "
        f"after the other (calculated from {AFTER_EACH_OTHER})",
        limit=0.05,
        unit="times",
        runs=5,
        prepare=_submit,
    ),
    Measure(
        name="cloud-edited",
        what="one file edited: `cloud`, against `buildah build`, `buildah push` and Google's `google.cloud.aiplatform`",
        limit=0.5,
        unit="times",
        runs=7,
        prepare=_edited,
        needs=TOOLS,
    ),
    Measure(
        name="push-bytes",
        what="one file edited: what `cloud` sends to the registry, against the layer of the source, compressed",
        limit=1.2,
        unit="times",
        of="bytes",
        runs=3,
        prepare=_pushed,
        needs=TOOLS,
    ),
)
