"""The settings of an emulator."""

from __future__ import annotations

from pathlib import Path

from attrs import frozen


@frozen(kw_only=True)
class EmulatorSettings:
    """A region of Vertex AI, and where its files lie on this machine.

    `folder` gets what a client needs (certificate and key) and the jobs' logs; `gcs` has a folder for each bucket.
    `port` is that of gRPC; 0 takes a free one. `parallel` jobs run at once; with 0 all stay queued. Images from
    `insecure_registries`, and from registries on loopback, are pulled without TLS.
    """

    folder: Path
    gcs: Path
    port: int = 0
    region: str = "us-central1"
    project: str = "rehearsal"
    parallel: int = 1
    insecure_registries: tuple[str, ...] = ()
