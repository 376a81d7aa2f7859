"""The jobs of a sweep file, written out."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from ocicaliban.app import expand

if TYPE_CHECKING:
    from tests.unit.app.conftest import World


def test_the_jobs_of_a_sweep_file_are_written_out(world: World) -> None:
    world.write({"s.json": json.dumps([{"x": [1, 2], "name": "a b"}, {}])})
    jobs = [{"x": 1, "name": "a b"}, {"x": 2, "name": "a b"}, {}]
    for indented in (False, True):
        assert "".join(expand.json_pieces("s.json", indented=indented)) == (
            json.dumps(jobs, indent=2 if indented else None) + "\n"
        )
    assert list(expand.argument_lines("s.json")) == ["--x 1 --name 'a b'\n", "--x 2 --name 'a b'\n", "\n"]
