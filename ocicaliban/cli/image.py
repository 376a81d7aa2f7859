"""The commands build and plan. They import what they need when they run: completion and --help need none of it."""

from __future__ import annotations

from typing import Annotated

import typer

from ocicaliban.cli import completion
from ocicaliban.cli.options import (
    AllowSecrets,
    CloudKey,
    Debug,
    Dirs,
    Extras,
    Gpu,
    Gpus,
    Module,
    Mount,
    NoCache,
    WithGroups,
    request,
)
from ocicaliban.cli.output import print_exactly, print_json, print_lines
from ocicaliban.errors import UsageError
from ocicaliban.reporter import TERMINAL


def build(
    module: Module = "",
    mode: Annotated[str, typer.Option("--mode", autocompletion=completion.modes, help="The mode to build.")] = "build",
    tag: Annotated[str, typer.Option("--tag", "-t", help="A name for the image.")] = "",
    no_cache: NoCache = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print ID, digest, key and environment as JSON.")] = False,
    gpu_wanted: Gpu = None,
    gpus: Gpus = None,
    extras: Extras = None,
    with_groups: WithGroups = None,
    dirs: Dirs = None,
    allow_secrets: AllowSecrets = None,
    mount: Mount = False,
    cloud_key: CloudKey = "",
    debug: Debug = False,
) -> None:
    """Build the project's image and print its ID."""
    given = locals()
    from ocicaliban.app import build as use_case
    from ocicaliban.app.requests import BuildRequest

    if cloud_key:
        TERMINAL.note("an image never contains a credential; give --cloud-key to `ocicaliban run`")
    built = use_case.build(request(BuildRequest, given), tag)
    image = built.image
    described = {"id": image.id, "digest": image.digest, "key": built.key, "environment": built.environment}
    if as_json:
        print_json(described)
    else:
        print_lines(image.id)


def plan(
    mode: Annotated[str, typer.Argument(help="build, run, shell, notebook, cloud, or one of the project's own")],
    module: Module = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    containerfile: Annotated[bool, typer.Option("--containerfile", help="Print a plain Containerfile.")] = False,
    diff: Annotated[
        str, typer.Option("--diff", metavar="MODE", help="Print the differences from this mode instead.")
    ] = "",
    gpu_wanted: Gpu = None,
    gpus: Gpus = None,
    extras: Extras = None,
    with_groups: WithGroups = None,
    dirs: Dirs = None,
    allow_secrets: AllowSecrets = None,
    debug: Debug = False,
) -> None:
    """Show the layers of the image.

    It says of each layer whether it is there, mounted or to be built, and why.
    """
    given = locals()
    from ocicaliban.app import plan as use_case
    from ocicaliban.app.requests import BuildRequest

    if as_json + containerfile + bool(diff) > 1:
        raise UsageError("--json, --containerfile and --diff exclude each other", "give one of them")
    asked = request(BuildRequest, given)
    if diff:
        print_lines(*use_case.difference(asked, diff))
    elif containerfile:
        print_exactly([use_case.containerfile(asked)])
    elif as_json:
        print_json(use_case.as_json(asked), indent=2)
    else:
        print_lines(*use_case.layer_lines(asked))
