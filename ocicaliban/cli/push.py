"""The command push: sends the project's image to a registry, and prints its name by digest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ocicaliban.cli.options import Debug, Dirs, Extras, Gpu, Gpus, Module, NoCache, TlsVerify, truth
from ocicaliban.reporter import TERMINAL

_COMPRESSIONS = ("gzip", "zstd")


def push(
    module: Module = "",
    mode: Annotated[str, typer.Option("--mode", help="Which mode's recipes to build.")] = "build",
    image_id: Annotated[str, typer.Option("--image-id", help="Push this image; build nothing.")] = "",
    to: Annotated[
        str, typer.Option("--to", "--repository", metavar="REPOSITORY", help="Where to (default: as configured).")
    ] = "",
    tag: Annotated[str, typer.Option("--tag", "-t", help="The tag that it gets there.")] = "latest",
    compression: Annotated[
        str, typer.Option("--compression", metavar="gzip|zstd", help="gzip is what everybody can read.")
    ] = "gzip",
    tls_verify: TlsVerify = "true",
    as_json: Annotated[bool, typer.Option("--json", help="Print reference, digest and bytes as JSON.")] = False,
    no_cache: NoCache = False,
    gpu_wanted: Gpu = None,
    gpus: Gpus = None,
    extras: Extras = None,
    dirs: Dirs = None,
    cloud_key: Annotated[
        str, typer.Option("--cloud-key", help="A service account's key file, to log in at Google's registry.")
    ] = "",
    debug: Debug = False,
) -> None:
    """Build what is missing of the project's image, push it to a registry, and print its name by digest."""
    from ocicaliban.app import images, launch
    from ocicaliban.build import planner
    from ocicaliban.build.request import PlanRequest
    from ocicaliban.errors import UsageError, nearest
    from ocicaliban.formats.text import amount
    from ocicaliban.gpu import selection
    from ocicaliban.registry import push as pushing
    from ocicaliban.registry import reference
    from ocicaliban.registry.packed_layers import Compression

    launch.require_user()
    if compression not in _COMPRESSIONS:
        raise UsageError(f"'{compression}' is no compression", nearest(compression, _COMPRESSIONS))
    target = reference.Destination(
        repository=images.chosen(Path.cwd(), to),
        tag=reference.check_tag(tag),
        tls_verify=truth("--tls-verify", tls_verify),
        key_file=launch.key_file(cloud_key),
    )
    if image_id:
        image = launch.image_called(image_id)
    if cloud_key and not target.repository.is_google:
        raise UsageError(
            f"--cloud-key is for Google's registries, and {target.repository.host} is none",
            f"podman login {target.repository.host}",
        )
    registry = pushing.connect(target, TERMINAL)
    if not image_id:
        request = PlanRequest(
            root=Path.cwd(),
            mode=mode,
            module=module,
            gpus=selection.choose_gpus(gpu_wanted, gpus, TERMINAL),
            extras=tuple(extras or ()),
            dirs=tuple(dirs or ()),
            fresh=no_cache,
        )
        planned = planner.plan_project(request, TERMINAL)
        image = launch.built(planned, no_cache)
        launch.record_built(planned)
    kind: Compression = "zstd" if compression == "zstd" else "gzip"
    pushed = pushing.push(image, target, registry, compression=kind, reporter=TERMINAL)
    TERMINAL.say(f"pushed {pushed.reference}: sent {amount(pushed.sent)}, {amount(pushed.saved)} were there")
    result = {"reference": pushed.reference, "digest": pushed.digest, "sent": pushed.sent, "saved": pushed.saved}
    print(json.dumps(result) if as_json else pushed.reference)
