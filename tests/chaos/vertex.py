"""The stand-in for Vertex AI in a process that can be killed: `python -m tests.chaos.vertex FOLDER`."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from google.cloud.aiplatform_v1.types import CustomJob

from ocicaliban.emulator import identity
from ocicaliban.emulator.faults import FaultInjector, Faults
from ocicaliban.emulator.job_journal import JobJournal
from ocicaliban.emulator.server import Emulator
from ocicaliban.emulator.settings import EmulatorSettings
from tests.chaos.outage import Outage
from tests.integration.program import environment

_ENDPOINT = "CLOUDSDK_API_ENDPOINT_OVERRIDES_AIPLATFORM"
_READY = "environment.json"


class VertexProcess:
    """The stand-in, which loses an answer now and then, behind a port that can be cut off and stays the same."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        # As those of a service, certificate and account outlive each of its processes.
        certificate = identity.create_certificate(folder)
        (folder / "certificate").write_bytes(certificate.certificate)
        (folder / "key").write_bytes(certificate.key)
        account = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        form = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (folder / "account").write_bytes(account.private_bytes(*form))
        self.outage = Outage()
        self.start()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        (self._folder / _READY).unlink(missing_ok=True)
        argv = [sys.executable, "-m", "tests.chaos.vertex", str(self._folder)]
        with (self._folder / "words").open("ab") as words:
            self._child = subprocess.Popen(
                argv, env=environment(), stdin=subprocess.DEVNULL, stdout=words, stderr=words
            )
        until = time.monotonic() + 120
        while not (self._folder / _READY).exists():
            if self._child.poll() is not None or time.monotonic() > until:
                raise AssertionError((self._folder / "words").read_text(errors="replace"))
            time.sleep(0.05)
        there = json.loads((self._folder / _READY).read_text())
        self.outage.behind = int(there[_ENDPOINT].rstrip("/").rpartition(":")[2])
        self.environment: Mapping[str, str] = {**there, _ENDPOINT: f"https://localhost:{self.outage.port}/"}

    def kill(self) -> None:
        """Kill it."""
        self._child.kill()
        self._child.wait()

    def jobs(self) -> tuple[CustomJob, ...]:
        """Return the jobs that it has."""
        return JobJournal(self._folder / "own" / "jobs").read()

    def stop(self) -> None:
        """Let it end by itself; kill it if it does not."""
        self._child.terminate()
        try:
            self._child.wait(60)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError("the stand-in for Vertex AI does not end") from None


def main(folder: Path) -> None:
    """Emulate Vertex AI until SIGTERM."""
    over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    certificate = identity.ServerCertificate(
        key=(folder / "key").read_bytes(),
        certificate=(folder / "certificate").read_bytes(),
        trusted=folder / "ca.pem",
    )
    settings = EmulatorSettings(folder=folder / "own", gcs=folder / "gcs", parallel=0)
    faults = FaultInjector(Faults(latency=0.05, lost_every=7))
    account = identity.ServiceAccount(settings.project, (folder / "account").read_bytes(), "the-token-of-the-account")
    with Emulator(settings, faults=faults, certificate=certificate, account=account) as made:
        (folder / "new.json").write_text(json.dumps(made.environment()))
        (folder / "new.json").rename(folder / _READY)
        over.wait()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
