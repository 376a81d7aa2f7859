"""The command doctor."""

from __future__ import annotations

from typing import Annotated

import typer

from ocicaliban.cli.output import print_json, print_lines, print_styled
from ocicaliban.formats.colours import OF_WORDS, Line


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Check this machine, and say how to fix it.

    It checks whether the machine has what ocicaliban needs, and what it can reach.
    The exit code is 1 if there is an error; warnings and missing parts do not count.
    """
    import attrs

    from ocicaliban.doctor import checks

    findings = checks.examine()
    if as_json:
        print_json([attrs.asdict(finding) for finding in findings], indent=2)
    else:
        for finding in findings:
            line = f"{finding.level:<9}{finding.name}: {_indented(finding.message)}"
            print_styled([Line(line, OF_WORDS[finding.level], 0, len(finding.level))])
            if finding.remedy:
                print_lines(f"{'':<9}{_indented(finding.remedy)}")
        print_lines("", checks.summary(findings))
    if any(finding.level == "error" for finding in findings):
        raise typer.Exit(1)


def _indented(text: str) -> str:
    return text.replace("\n", "\n" + " " * 9)
