"""The commands publish, reproduce, inspect and list: experiments in a registry."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ocicaliban.cli.jobs import DryRun, Group, GroupWord, one_group
from ocicaliban.cli.options import Debug, NewGroup, TlsVerify, request, truth
from ocicaliban.cli.output import print_json, print_lines
from ocicaliban.errors import UsageError
from ocicaliban.formats.text import amount
from ocicaliban.reporter import TERMINAL

if TYPE_CHECKING:
    from ocicaliban.app.published import Published
    from ocicaliban.app.reproduce import Reproduction
    from ocicaliban.app.requests import ReproduceRequest
    from ocicaliban.publish.comparison import Difference

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Reference = Annotated[
    str,
    typer.Argument(
        metavar="REF", help="HOST/REPOSITORY@sha256:DIGEST, HOST/REPOSITORY:TAG, oci:FOLDER or oci-archive:FILE."
    ),
]
VerifyKey = Annotated[
    str, typer.Option("--verify-key", metavar="FILE", help="Refuse what this public key (PEM) has not signed.")
]


def publish(
    name: GroupWord = "",
    group: Group = "",
    repository: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="REPOSITORY",
            help="Where to publish (default: the configured repository); oci:FOLDER and oci-archive:FILE need none.",
        ),
    ] = "",
    tag: Annotated[str, typer.Option("--tag", "-t", help="The experiment's tag (default: the group's name).")] = "",
    dirty: Annotated[bool, typer.Option("--dirty", help="Publish jobs of files that no commit has.")] = False,
    without_metrics: Annotated[
        bool, typer.Option("--without-metrics", help="Publish jobs whose results are gone.")
    ] = False,
    without_options: Annotated[
        bool, typer.Option("--without-options", help="Publish jobs that had options for podman, without these.")
    ] = False,
    with_git: Annotated[
        bool, typer.Option("--with-git", help="Publish the project's commit with its whole history, as a git bundle.")
    ] = False,
    with_results: Annotated[
        bool, typer.Option("--with-results", help="Publish the files that the jobs have written to /out.")
    ] = False,
    sign_key: Annotated[
        str, typer.Option("--sign-key", metavar="FILE", help="Sign with this private key (PEM, or cosign's).")
    ] = "",
    crate: Annotated[
        str, typer.Option("--crate", metavar="FOLDER|FILE.zip", help="Write the experiment as an RO-Crate, too.")
    ] = "",
    tls_verify: TlsVerify = "true",
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Publish a group: image, jobs and metrics.

    The image goes to a registry, and with it the jobs, their metrics, and all that they were made from.
    """
    given = locals()
    from ocicaliban.app import publish as use_case
    from ocicaliban.app.requests import PublishRequest

    group = one_group(name, group)
    if not group:
        raise UsageError("say which group to publish", "ocicaliban publish GROUP; `ocicaliban status` shows the groups")
    asked = request(PublishRequest, given, group=group, tls_verify=truth("--tls-verify", tls_verify))
    edition = use_case.prepare(asked)
    if dry_run:
        print_lines(*edition.listing())
        return
    for line in edition.listing():
        TERMINAL.say(line)
    _confirm("publish this?", yes)
    done = use_case.publish(edition)
    told = {"reference": done.reference, "digest": done.digest, "tag": edition.tag, "jobs": len(edition.jobs)}
    print_json(told) if as_json else print_lines(done.reference)


def reproduce(
    reference: Reference,
    jobs: Annotated[
        str, typer.Option("--jobs", metavar="all|best|N|IDS", help="Which: the first N, or numbers: 1,3-5,")
    ] = "all",
    tolerance: Annotated[
        float, typer.Option("--tolerance", help="How far a metric may be off, relative to the published value.")
    ] = 0.0,
    metrics: Annotated[
        list[str] | None, typer.Option("--metric", help="Compare only this metric (eval.*); may be repeated.")
    ] = None,
    goal: Annotated[str, typer.Option("--goal", help="The metric of the best job; -NAME: the lowest.")] = "",
    at_a_time: Annotated[int | None, typer.Option("--at-a-time", help="How many jobs run at a time.")] = None,
    group: NewGroup = "",
    verify_key: VerifyKey = "",
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Build the image again instead, and say what differs.")
    ] = False,
    source: Annotated[
        str, typer.Option("--source", metavar="FOLDER", help="With --rebuild: a git checkout of the sources.")
    ] = "",
    tls_verify: TlsVerify = "true",
    yes: Yes = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Run a published experiment, and compare.

    Its jobs run in its image. Their metrics are compared with the published ones.
    """
    given = locals()
    from ocicaliban.app import reproduce as use_case
    from ocicaliban.app.requests import ReproduceRequest

    asked = request(ReproduceRequest, given, tls_verify=truth("--tls-verify", tls_verify))
    if rebuild:
        _rebuild(asked, yes=yes, as_json=as_json)
        return
    if source:
        raise UsageError("--source is for --rebuild", "add --rebuild")
    found, chosen = use_case.find(asked)
    for line in _described(found):
        TERMINAL.say(line)
    TERMINAL.say("its jobs run in containers, and use the network of this machine")
    _confirm(f"run {len(chosen)} of its {found.experiment.jobs} jobs here?", yes)
    done = use_case.reproduce(asked, found, chosen)
    if as_json:
        print_json(_as_json(found, done))
    else:
        print_lines(*_table(done))
    if not done.agrees:
        raise typer.Exit(done.exit_code or 1)


def _rebuild(asked: ReproduceRequest, *, yes: bool, as_json: bool) -> None:
    """Build the image of an experiment again, and print whether it is the same. Raises Exit if it is not."""
    from ocicaliban.app import published
    from ocicaliban.app import rebuild as use_case

    found = published.read(asked.reference, tls_verify=asked.tls_verify, key=asked.verify_key)
    for line in _described(found):
        TERMINAL.say(line)
    TERMINAL.say("its recipes and packages run in containers while the image is built")
    _confirm("build its image here?", yes)
    done = use_case.rebuild(asked, found)
    if as_json:
        print_json({"same": done.same, "published": done.published, "rebuilt": done.found, "differences": done.lines})
    elif done.same:
        print_lines(f"the image is the same: {done.found}")
    else:
        print_lines(f"the image is another one: {done.found}, published was {done.published}", *done.lines)
    if not done.same:
        raise typer.Exit(1)


def inspect(
    reference: Reference,
    verify_key: VerifyKey = "",
    save: Annotated[
        str, typer.Option("--save", metavar="FOLDER", help="Write all its documents into a new folder.")
    ] = "",
    tls_verify: TlsVerify = "true",
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Show a published experiment.

    It shows what the experiment was made from, its jobs and their metrics.
    """
    from ocicaliban.app import published
    from ocicaliban.jobs import status_table
    from ocicaliban.publish import experiment
    from ocicaliban.reports.text import join_parameters

    verify = truth("--tls-verify", tls_verify)
    found = published.read(reference, tls_verify=verify, key=verify_key)
    if save:
        published.save(found, Path(save), tls_verify=verify)
    if as_json:
        jobs = [experiment.job_to_record(job) for job in found.jobs]
        files = [{"name": file.title, "digest": file.digest, "size": file.size} for file in found.files]
        made = experiment.to_record(found.experiment)
        signed = {"signed_by": found.signed_by} if found.signed_by else {}
        print_json({"reference": found.reference, **signed, "experiment": made, "jobs": jobs, "files": files})
        return
    rows = [("job", "status", "parameters", "metrics")]
    rows += [
        (str(job.number), job.status, join_parameters(job.parameters), join_parameters(job.results.items()))
        for job in found.jobs
    ]
    print_lines(*_described(found), "", *status_table.aligned(rows))


def list_(
    repository: Annotated[
        str, typer.Argument(metavar="REPOSITORY", help="HOST/REPOSITORY, oci:FOLDER or oci-archive:FILE.")
    ],
    tls_verify: TlsVerify = "true",
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """List the experiments in a repository."""
    from ocicaliban.app import published
    from ocicaliban.jobs import status_table

    found = [*published.all_in(repository, tls_verify=truth("--tls-verify", tls_verify))]
    if as_json:
        print_json(
            [
                {"tag": tag, "reference": each.reference, "group": each.experiment.group,
                 "created": each.experiment.created, "jobs": each.experiment.jobs}
                for tag, each in found
            ]
        )  # fmt: skip
        return
    if not found:
        TERMINAL.say(f"{repository} has no published experiments")
        return
    rows = [("tag", "jobs", "published", "digest")]
    rows += [(tag, str(each.experiment.jobs), each.experiment.created, each.digest) for tag, each in found]
    print_lines(*status_table.aligned(rows))


def _confirm(question: str, yes: bool) -> None:
    """Ask. Raises UsageError if there is no one to ask, Exit if the answer is no."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError("this needs an answer, and there is no terminal", "if it is right, add --yes")
    if not typer.confirm(question, err=True):
        raise typer.Exit(1)


def _described(found: Published) -> list[str]:
    """Return the lines that say what an experiment is."""
    made = found.experiment
    state = f"commit {made.commit}{' and changed files' if made.dirty else ''}" if made.commit else "no git commit"
    gpus = f", {', '.join(dict.fromkeys(made.machine.gpus))}" if made.machine.gpus else ""
    lines = [
        f"experiment {made.group}, published {made.created}, {made.jobs} jobs",
        f"image {found.image}",
        f"made with ocicaliban {made.program or '(unknown)'} from {state}{f' of {made.remote}' if made.remote else ''}",
        f"on {made.machine.processor or 'an unknown processor'}{gpus}",
        *(f"its jobs saw a folder at {folder}, which is not published" for folder in made.folders),
        *(f"its jobs had podman's option {option}, which is not published" for option in made.options),
        *(f"its jobs had the Linux capability {name}, which they do not get here" for name in made.capabilities),
    ]
    if found.signed_by:
        lines.append(f"signed by the key {found.signed_by}")
    if files := found.files:
        lines.append(f"{len(files)} documents, {amount(sum(file.size for file in files))}")
    return lines


def _table(done: Reproduction) -> list[str]:
    """Return the lines that compare the metrics."""
    from ocicaliban.jobs import status_table
    from ocicaliban.reports.values import exact

    def mark(row: Difference) -> str:
        return "" if row.agrees else "differs"

    def distance(row: Difference) -> str:
        return "" if row.distance is None else f"{row.distance:.3g}"

    rows = [("job", "metric", "published", "now", "difference", "")]
    rows += [
        (str(row.job), row.name, exact(row.published) or "-", exact(row.found) or "-", distance(row), mark(row))
        for row in done.rows
    ]
    wrong = sum(not row.agrees for row in done.rows)
    said = f"{len(done.rows)} metrics: " + (f"{wrong} differ" if wrong else "all agree")
    return [*status_table.aligned(rows), said if done.rows else "the jobs reported no metrics", f"group {done.group}"]


def _as_json(found: Published, done: Reproduction) -> dict[str, object]:
    return {
        "reference": found.reference,
        "group": done.group,
        "agrees": done.agrees,
        "exit_code": done.exit_code,
        "metrics": [
            {"job": row.job, "metric": row.name, "published": row.published, "found": row.found, "agrees": row.agrees}
            for row in done.rows
        ],
    }
