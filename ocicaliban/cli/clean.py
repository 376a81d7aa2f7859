"""The command clean: removes images that ocicaliban made, and nothing else."""

from __future__ import annotations

from typing import Annotated

import typer

from ocicaliban.cli.options import request


def clean(
    older_than: Annotated[
        str, typer.Option("--older-than", help="Remove images that were not used for this long: 30d, 12h.")
    ] = "",
    unused: Annotated[
        bool, typer.Option("--unused", help="Keep only the images of the last build of each project and mode.")
    ] = False,
    all_: Annotated[bool, typer.Option("--all", help="Remove everything that ocicaliban made.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", "--dry_run", help="Only print what would be removed.")] = False,
) -> None:
    """Remove what ocicaliban has built.

    These are images and folders: all of them, the unused ones, or those not used for a while.

    It keeps an image that you gave another name, that a container uses, that queued jobs need, or that another
    image is based on. It keeps the folders of files that a container mounts, or that queued jobs need.
    """
    given = locals()
    from ocicaliban.app import clean as use_case
    from ocicaliban.app.requests import CleanRequest

    use_case.clean(request(CleanRequest, given), print)
