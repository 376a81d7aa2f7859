"""The command push: sends the project's image to a registry, and prints its name by digest."""

from __future__ import annotations

from typing import Annotated

import typer

from ocicaliban.cli import completion
from ocicaliban.cli.options import (
    AllowSecrets,
    Debug,
    Dirs,
    Extras,
    Gpu,
    Gpus,
    Module,
    NoCache,
    TlsVerify,
    WithGroups,
    request,
    truth,
)
from ocicaliban.cli.output import print_json, print_lines


def push(
    module: Module = "",
    mode: Annotated[str, typer.Option("--mode", autocompletion=completion.modes, help="The mode to build.")] = "build",
    image_id: Annotated[str, typer.Option("--image-id", help="Push this image; build nothing.")] = "",
    repository: Annotated[
        str,
        typer.Option(
            "--to", "--repository", metavar="REPOSITORY", help="Where to push (default: the configured repository)."
        ),
    ] = "",
    tag: Annotated[str, typer.Option("--tag", "-t", help="The image's tag in the registry.")] = "latest",
    compression: Annotated[
        str,
        typer.Option(
            "--compression", metavar="gzip|zstd", help="The compression of the layers; every tool can read gzip."
        ),
    ] = "gzip",
    tls_verify: TlsVerify = "true",
    as_json: Annotated[bool, typer.Option("--json", help="Print reference, digest and bytes as JSON.")] = False,
    no_cache: NoCache = False,
    gpu_wanted: Gpu = None,
    gpus: Gpus = None,
    extras: Extras = None,
    with_groups: WithGroups = None,
    dirs: Dirs = None,
    allow_secrets: AllowSecrets = None,
    cloud_key: Annotated[
        str, typer.Option("--cloud-key", help="A service account's key file to log in to Google's registry.")
    ] = "",
    debug: Debug = False,
) -> None:
    """Push the project's image to a registry.

    It builds what is missing, and prints the image's name by digest.
    """
    given = locals()
    from ocicaliban.app import push as use_case
    from ocicaliban.app.requests import BuildRequest, PushRequest

    target = request(PushRequest, given, tls_verify=truth("--tls-verify", tls_verify))
    pushed = use_case.push(request(BuildRequest, given), target, image_id)
    result = {"reference": pushed.reference, "digest": pushed.digest, "sent": pushed.sent, "saved": pushed.saved}
    if as_json:
        print_json(result)
    else:
        print_lines(pushed.reference)
