"""The options and arguments that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

Module = Annotated[
    str, typer.Argument(metavar="MODULE", help="trainer.train, trainer/train.py or another executable file")
]
Gpu = Annotated[bool | None, typer.Option("--gpu/--nogpu", help="Use the GPU (default: if there is one).")]
Gpus = Annotated[str | None, typer.Option("--gpus", help="Which: 0,1 or all or a UUID.")]
Extras = Annotated[list[str] | None, typer.Option("-e", "--extras", help="An extra of the project; may be repeated.")]
Dirs = Annotated[list[str] | None, typer.Option("-d", "--dir", help="A folder of data, in a layer of its own.")]
ImageId = Annotated[str, typer.Option("--image-id", help="Run this image; build nothing.")]
PodmanArgs = Annotated[
    str, typer.Option("--podman-args", "--docker-run-args", help="More arguments for `podman run`.")
]
Mount = Annotated[bool, typer.Option("--mount", help="Mount the project instead of copying it.")]
NoCache = Annotated[bool, typer.Option("--no-cache", help="Make every layer anew, and a base that no lock pins.")]
CloudKey = Annotated[
    str, typer.Option("--cloud-key", help="A service account's key file, which the container sees; no image holds it.")
]
Debug = Annotated[bool, typer.Option("--debug", hidden=True)]
