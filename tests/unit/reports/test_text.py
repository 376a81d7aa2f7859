"""The report at a terminal."""

from __future__ import annotations

from typing import Any

from attrs import evolve

from ocicaliban.model.job import Scalar
from ocicaliban.reports import text
from tests.unit.reports.samples import LRS, report_of


def test_a_table_looks_at_each_cell_a_few_times_however_many_jobs_there_are() -> None:
    looks: list[str] = []

    class Cells(dict[str, Scalar]):
        def get(self, key: str, *default: object) -> Any:
            looks.append(key)
            return super().get(key)

    made = report_of(*(({"lr": number}, {"acc": 0.5}) for number in range(100)))
    made = evolve(made, rows=tuple(evolve(row, cells=Cells(row.cells)) for row in made.rows))
    text.table(made)
    assert len(looks) <= 3 * len(made.rows) * len(made.columns)


def test_the_table_is_even_and_marks_the_best() -> None:
    lines, left = text.table(LRS)
    assert lines == [
        "  id  status     duration    lr  acc",
        "   1  succeeded       1 s   0.1  0.7",
        "*  2  succeeded       2 s  0.01  0.9",
        "   3  succeeded       3 s     1  0.1",
    ]
    assert left == ()


def test_what_does_not_fit_is_left_out_from_the_end_but_not_what_counts() -> None:
    made = report_of(({"lr": 1}, {"first": 1, "second": 2, "acc": 3}), ({"lr": 2}, {"first": 1, "second": 2, "acc": 4}))
    lines, left = text.table(made, 41)
    assert [column.name for column in left] == ["second"] and max(map(len, lines)) <= 41 and lines[0].endswith("acc")


def test_a_value_cannot_give_orders_to_a_terminal_or_break_a_line() -> None:
    made = report_of(({"a": "\x1b[31m\n"}, {"b\r": "\u202e"}), ({"a": 1}, {}))
    lines = "\n".join(text.table(made)[0])
    assert "\\x1b[31m\\n" in lines and "b\\r" in lines and "\x1b" not in lines and len(lines.splitlines()) == 3
