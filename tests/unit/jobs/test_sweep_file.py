"""Sweep files: Caliban's format, in three forms; every job once, in the order written; each fault with its place."""

from __future__ import annotations

import io
import json
import math
import shlex
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from ocicaliban.__main__ import main
from ocicaliban.app.sweep_input import read_sweep
from ocicaliban.errors import UsageError
from ocicaliban.jobs.expansion import count, flags, points, products, specs
from ocicaliban.jobs.sweep_file import parse
from ocicaliban.jobs.sweep_forms import Form

# --- what a sweep says ---


def jobs(text: str, form: Form = "json") -> list[dict[str, Any]]:
    return [dict(point) for point in points(parse(text, form, "sweep"))]


def lines(text: str, form: Form = "json") -> list[str]:
    return [shlex.join(flags(point)) for point in points(parse(text, form, "sweep"))]


def test_the_last_key_changes_first() -> None:
    assert lines('{"epochs": [2, 3], "batch_size": [64, 128], "name": "x", "toggle": [true, false]}') == [
        "--epochs 2 --batch_size 64 --name x --toggle",
        "--epochs 2 --batch_size 64 --name x",
        "--epochs 2 --batch_size 128 --name x --toggle",
        "--epochs 2 --batch_size 128 --name x",
        "--epochs 3 --batch_size 64 --name x --toggle",
        "--epochs 3 --batch_size 64 --name x",
        "--epochs 3 --batch_size 128 --name x --toggle",
        "--epochs 3 --batch_size 128 --name x",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"[a,b]": [["c", "d"], ["e", "f"]]}', ["--a c --b d", "--a e --b f"]),
        ('{"[a,b]": ["c", "d"]}', ["--a c --b d"]),  # a single list is a single choice
        ('{"[ a , b ]": [[0, 1]]}', ["--a 0 --b 1"]),
        ('{"[a]": [[1], [2]]}', ["--a 1", "--a 2"]),
        ('{"[a,b]": [[true, false], [false, 1]]}', ["--a", "--b 1"]),
        ('{"hi": [1, 2], "[a,b]": [[3, 4], [5, 6]], "z": 0}', [
            "--hi 1 --a 3 --b 4 --z 0", "--hi 1 --a 5 --b 6 --z 0", "--hi 2 --a 3 --b 4 --z 0",
            "--hi 2 --a 5 --b 6 --z 0",
        ]),
        ('[{"a": [1, 2]}, {"b": 3}]', ["--a 1", "--a 2", "--b 3"]),
        ('[{"a": 1}, [{"a": 2}, [{"a": 3}]]]', ["--a 1", "--a 2", "--a 3"]),  # Caliban's lists of lists
        ("{}", [""]),  # a job without parameters
        ("[{}, {}]", ["", ""]),
        ('{"a": [1, 1]}', ["--a 1", "--a 1"]),
        ('{"a": ""}', ["--a ''"]),
        ('{"a": "two words; $x"}', ["--a 'two words; $x'"]),
        ('{"a": [1, 1.0, 1e-3, 1e-5, 1e20, -0.0, "1e-3"]}', [
            "--a 1", "--a 1.0", "--a 1e-3", "--a 1e-5", "--a 1e20", "--a -0.0", "--a 1e-3",
        ]),
        ('{"a": [0.10, -1E-5, -0.00001, 1.50e+2]}', ["--a 0.10", "--a=-1E-5", "--a -0.00001", "--a 1.50e+2"]),
        (f'{{"a": {10**40}}}', [f"--a {10**40}"]),
        ('{"a.b": 1, "--c": 2}', ["--a.b 1 ----c 2"]),
        # A list in a list is a value, in the words that Python has for it.
        ('{"x": [[1, 2], [3], []]}', ["--x '[1, 2]'", "--x '[3]'", "--x '[]'"]),
        ('{"x": [["a", true, 1e-3, [0]], 5]}', ["""--x '['"'"'a'"'"', True, 1e-3, [0]]'""", "--x 5"]),
        ('{"[a,b]": [[1, [2, 3]]]}', ["--a 1 --b '[2, 3]'"]),
        ('{"[a,b]": [1, [2, 3]]}', ["--a 1 --b '[2, 3]'"]),
    ],
)  # fmt: skip
def test_what_becomes_of_a_sweep(text: str, expected: list[str]) -> None:
    assert lines(text) == expected


def test_true_is_no_number_and_a_string_is_no_truth() -> None:
    (job,) = jobs('{"a": true, "b": 1, "c": "true", "d": false, "e": 0}')
    assert [type(value) for value in job.values()] == [bool, int, str, bool, int]
    assert lines('{"a": true, "b": 1, "c": "true", "d": false, "e": 0}') == ["--a --b 1 --c true --e 0"]


def test_json_may_have_comments_and_last_commas() -> None:
    text = '# a sweep\n[ // one\n{"a": ["#1", "//2", "/*3*/",], /* all\nof them */ "b": "\\"#",},\n # end\n]\n// "'
    assert jobs(text) == [{"a": value, "b": '"#'} for value in ("#1", "//2", "/*3*/")]


def test_arguments_for_all_jobs_come_first() -> None:
    first, second = specs(parse('{"a": [1, true]}', "json", "x"), ["--key", "value"])
    assert first.args == ("--key", "value", "--a", "1") and first.parameters == (("a", 1),)
    assert second.args == ("--key", "value", "--a") and second.parameters == (("a", True),)


# --- the other forms ---


def test_toml_is_one_block_or_a_list_of_them() -> None:
    one = 'epochs = [1, 2]\n"[a,b]" = [[3, 4]]\nt = true\n'
    assert lines(one, "toml") == ["--epochs 1 --a 3 --b 4 --t", "--epochs 2 --a 3 --b 4 --t"]
    assert lines("[[sweep]]\na = [1, 2]\n[[sweep]]\nb = 0.5\n[[sweep]]\n", "toml") == ["--a 1", "--a 2", "--b 0.5", ""]
    assert lines("sweep = [1, 2]\n", "toml") == ["--sweep 1", "--sweep 2"]


def test_yaml_is_yaml_1_2() -> None:
    text = "[a, b]: [[1e-3, 0o17], [no, 010]]\n'[c,d]': [[2024-01-01, 1:30], ['1', True]]\n"
    assert jobs(text, "yaml")[0] == {"a": 0.001, "b": 15, "c": "2024-01-01", "d": "1:30"}
    assert jobs(text, "yaml")[-1] == {"a": "no", "b": 10, "c": "1", "d": True}
    assert jobs("- lr: &rates [.5, 1., !!str 2]\n- lr: *rates\n  f: !!float 1\n", "yaml") == [
        {"lr": 0.5}, {"lr": 1.0}, {"lr": "2"}, {"lr": 0.5, "f": 1.0}, {"lr": 1.0, "f": 1.0}, {"lr": "2", "f": 1.0},
    ]  # fmt: skip


# --- properties ---

NAMES = st.text(alphabet="abcdefgh_.-é", min_size=1, max_size=5)
NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
# One of each kind that a form or a shell has something to say about.
WORDS = st.text("aZ05 .-+_~=:,;!?&*|%@`$#/'\"\\()[]{}<>\u00a0\u200b\ufeffé中\U0001f600", max_size=6)
SCALARS = NUMBERS | WORDS | st.booleans()


@st.composite
def blocks(draw: st.DrawFn) -> dict[str, Any]:
    names = draw(st.lists(NAMES, unique=True, max_size=7))
    block: dict[str, Any] = {}
    while names:
        taken, names = names[: (size := draw(st.integers(1, 3)))], names[size:]
        if len(taken) > 1:
            row = st.lists(SCALARS, min_size=len(taken), max_size=len(taken))
            block[f"[{','.join(taken)}]"] = draw(row | st.lists(row, min_size=1, max_size=3))
        else:
            block[taken[0]] = draw(SCALARS | st.lists(SCALARS, min_size=1, max_size=3))
    return block


SWEEPS = st.lists(blocks(), min_size=1, max_size=3)


def by_hand(block: dict[str, Any]) -> list[dict[str, Any]]:
    """The jobs of a block, by recursion: the first key outermost."""
    if not block:
        return [{}]
    (key, value), *rest = block.items()
    if key.startswith("["):
        rows = value if isinstance(value[0], list) else [value]
        choices = [dict(zip(key[1:-1].split(","), row, strict=True)) for row in rows]
    else:
        choices = [{key: one} for one in (value if isinstance(value, list) else [value])]
    return [choice | later for choice in choices for later in by_hand(dict(rest))]


@given(SWEEPS)
def test_every_combination_is_there_in_the_order_written(sweep: list[dict[str, Any]]) -> None:
    parsed = parse(json.dumps(sweep), "json", "x")
    made = list(points(parsed))
    expected = [job for block in sweep for job in by_hand(block)]
    assert count(parsed) == len(made)
    assert [repr([*job.items()]) for job in expected] == [repr([*point]) for point in made]
    assert all(len({key for key, _ in point}) == len(point) for point in made)


@given(SWEEPS)
def test_what_is_made_of_each_choice_is_what_is_made_of_each_job(sweep: list[dict[str, Any]]) -> None:
    parsed = parse(json.dumps(sweep), "json", "x")
    assert list(products(parsed, flags)) == [flags(point) for point in points(parsed)]
    assert [spec.args for spec in specs(parsed, ["x"])] == [("x", *flags(point)) for point in points(parsed)]


@given(SWEEPS)
def test_the_three_forms_say_the_same(sweep: list[dict[str, Any]]) -> None:
    plain = json.dumps(sweep)
    toml = tomli_w.dumps({"sweep": sweep})
    expected = repr(parse(plain, "json", "x"))
    assert repr(parse(toml, "toml", "x")) == expected
    assert repr(parse(json.dumps(sweep, ensure_ascii=False), "yaml", "x")) == expected  # JSON is YAML
    if len(sweep) == 1 and sweep[0]:
        assert repr(parse(tomli_w.dumps(sweep[0]), "toml", "x")) == expected


@given(SWEEPS, st.randoms(use_true_random=False))
def test_comments_change_nothing(sweep: list[dict[str, Any]], random: Any) -> None:
    text = json.dumps(sweep, indent=1)
    ends = ("", '# "it\'s"', " // [,", "/* a\nb */", ' # "', "/* // */")
    commented = "\n".join(line + random.choice(ends) for line in text.splitlines())
    assert repr(parse(commented, "json", "x")) == repr(parse(text, "json", "x"))


@given(st.text(alphabet='{}[],:"a1 \n#/\\-.=&*!e', max_size=40), st.sampled_from(["json", "toml", "yaml"]))
def test_whatever_a_file_holds_it_is_a_sweep_or_a_fault_of_its_writer(text: str, form: Form) -> None:
    try:
        count(parse(text, form, "x"))
    except UsageError as fault:
        assert fault.message.startswith("x:") and fault.hint


# --- faults ---


def fault(text: str, form: Form = "json") -> tuple[str, str]:
    with pytest.raises(UsageError) as caught:
        parse(text, form, "s")
    return caught.value.message, caught.value.hint


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "s: the file is empty"),
        (" \n", "s: the file is empty"),
        ("3", "s: expected an object or a list of objects, got a number"),
        ('"a"', "s: expected an object or a list of objects, got a string"),
        ("null", "s: expected an object or a list of objects, got null"),
        ("[]", "s: an empty list makes no jobs"),
        ('[{"a": 1}, []]', "s: an empty list makes no jobs"),
        ('[{"a": 1}, "b"]', "s: block 2 is a string, not an object"),
        ('{"a": 1,\n "b": [2,\n 3], "[a,c]": [1, 2]}', "s:3:6: 'a' is given twice, again in '[a,c]'"),
        ('{"[a,c]": [1, 2],\n"a": 1}', "s:2:1: 'a' is given twice"),
        ('{"a": 1, "a": 1}', "s:1:10: 'a' is given twice"),
        ('[{"a": 1}, {"x": "a",\n\t"a": 2, # "a": 4\n  "a": 3}]', "s:3:3: 'a' is given twice"),
        ('{"[a,a]": [1, 2]}', "s:1:2: 'a' is given twice, again in '[a,a]'"),
        ('{"x": {"y": 1}}', "s:1:2: 'x' holds an object"),
        ('{"x": [1, {"y": 1}]}', "s:1:2: 'x' holds an object"),
        ('{"x": {"int": [1]}}', "s:1:2: 'x' has a range without exactly two numbers"),
        ('{"x": {"log": [0, 1]}}', "s:1:2: 'x' has a logarithmic range that begins at 0"),
        ('{"x": {"int": [1, 2.5]}}', "s:1:2: 'x' has a range of integers with another number in it"),
        ('{"x": {"float": [2, 1]}}', "s:1:2: 'x' has a range whose end 1 is not above its beginning 2"),
        ('{"x": {"int": [1, 2], "step": 1}}', "s:1:2: 'x' has a range with step, which ranges do not have"),
        ('{"x": {"int": [1, 2], "log": 1}}', "s:1:2: 'x' has a range whose log is neither true nor false"),
        ('{"x": {"float": [true, 2]}}', "s:1:2: 'x' has a range without exactly two numbers"),
        ('{"[x,y]": {"int": [1, 2]}}', "s:1:2: '[x,y]' is a range for several parameters"),
        ('{"x": {"int": [1, 2]}, "y": 1,\n "x": 2}', "s:2:2: 'x' is given twice"),
        ('{"x": null}', "s:1:2: 'x' holds null"),
        ('{"x": [1, null]}', "s:1:2: 'x' holds null"),
        ('{"x": []}', "s:1:2: 'x' is an empty list"),
        ('{"x": [[1, {"y": 2}]]}', "s:1:2: 'x' holds an object"),
        ('{"x": [[1, null]]}', "s:1:2: 'x' holds null"),
        ('{"x": [[NaN]]}', "s:1:2: 'x' is nan, which is not a number"),
        ('{"x": NaN}', "s:1:2: 'x' is nan, which is not a number"),
        ('{"x": [1, -Infinity]}', "s:1:2: 'x' is -inf, which is not a number"),
        ('{"x": 1e999}', "s:1:2: 'x' is inf, which is not a number"),
        ('{"x": ' + "1" * 5000 + "}", "s: a number has thousands of digits"),
        ('{"x": "a\\u0000"}', "s:1:2: 'x' has a character in it that no argument can hold"),
        ('{"x": "\\ud800"}', "s:1:2: 'x' has a character in it that no argument can hold"),
        ('{"x\\ud800": 1}', "s:1:2: the key 'x\\\\ud800' has a character in it that no argument can hold"),
        ('{"": 1}', "s:1:2: a key is empty"),
        ('{"a b": 1}', "s:1:2: the key 'a b' has a space in it"),
        ('{"a\\n": 1}', "s:1:2: the key 'a\\\\n' has a space in it"),
        ('{"[a b,c]": [1, 2]}', "s:1:2: the key '[a b,c]' has a space in it"),
        ('{"[a,b": [1, 2]}', "s:1:2: '[a,b' lacks its closing bracket"),
        ('{"[": 1}', "s:1:2: '[' lacks its closing bracket"),
        ('{"[a,,b]": [1, 2]}', "s:1:2: '[a,,b]' has an empty name in it"),
        ('{"[]": [1, 2]}', "s:1:2: '[]' has an empty name in it"),
        ('{"a,b": 1}', "s:1:2: the key 'a,b' has a comma or bracket in it"),
        ('{"a[0]": 1}', "s:1:2: the key 'a[0]' has a comma or bracket in it"),
        ('{"[[a,b]]": [1, 2]}', "s:1:2: the key '[[a,b]]' has a comma or bracket in it"),
        ('{"[a,b]": 1}', "s:1:2: '[a,b]' is a number, not a list of lists"),
        ('{"[a,b]": []}', "s:1:2: '[a,b]' is an empty list"),
        ('{"[a,b]": [1, 2, 3]}', "s:1:2: '[a,b]' has 3 values for 2 names"),
        ('{"[a]": [1, 2]}', "s:1:2: '[a]' has 2 values for 1 name"),
        ('{"[a,b]": [[1, 2], [3]]}', "s:1:2: element 2 of '[a,b]' has 1 value for 2 names"),
        ('{"[a,b]": [[]]}', "s:1:2: element 1 of '[a,b]' has 0 values for 2 names"),
        ('{"[a,b]": [[1, 2], 3]}', "s:1:2: element 2 of '[a,b]' is a number, not a list"),
        ('{"[a,b]": [[1, [{}]]]}', "s:1:2: '[a,b]' holds an object"),
        ('{"[a,b]": [[1, null]]}', "s:1:2: '[a,b]' holds null"),
        ('# one\n{"a": 1\n"b": 2}', "s:3:1: not valid JSON: Expecting ',' delimiter"),
        ('{"x": "a: b,]", "x": 1}', "s:1:17: 'x' is given twice"),
        ('{"\\"x\\":": 1,\n"": 1}', "s:2:1: a key is empty"),
        ('"\\' * 100_000, "s:1:1: not valid JSON: Unterminated string"),
        ("{,}", "s:1:2: not valid JSON: "),
        ("[1,,]", "s:1:4: not valid JSON: "),
        ("[" * 100_000, "s: the lists are nested too deeply"),
    ],
)
def test_a_fault_in_json(text: str, message: str) -> None:
    told, hint = fault(text)
    assert told.startswith(message.replace("\\\\", "\\")) and hint


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "s: the file is empty"),
        ("# nothing\n", "s: the file is empty"),
        ("a = 1\nb = \n", "s:2:5: not valid TOML: Invalid value"),
        ("a = 1\na = 2\n", "s:2:6: not valid TOML: Cannot overwrite a value"),
        ('a = 1\n"[a,b]" = [1, 2]\n', "s:2: 'a' is given twice, again in '[a,b]'"),
        ("lr = 1\nday = [2024-01-01]\n", "s:2: 'day' holds a date or time"),
        ("a = 12:30:00\n", "s:1: 'a' holds a date or time"),
        ("a = nan\n", "s:1: 'a' is nan, which is not a number"),
        ("a = 1\n[b]\nc = 1\n", "s:2: 'b' holds an object"),
        ("a.b = 1\n", "s:1: 'a' holds an object"),
        ("a = 1\n[[b]]\nc = 1\n", "s:2: 'b' holds an object"),
        ("[[sweep]]\na = 1\n\n[[sweep]]\n\na = []\n", "s:6: 'a' is an empty list"),
        ("a = 1\n[[sweep]]\nb = 1\n", "s:1: 'a' is outside of [[sweep]]"),
        ("sweep = [{ a = 1 }, 3]\n", "s: block 2 is a number, not an object"),
        ("sweep = []\n", "s:1: 'sweep' is an empty list"),
        ("a = 0x" + "f" * 5000 + "\n", "s:1: 'a' is a number that is too long"),
    ],
)
def test_a_fault_in_toml(text: str, message: str) -> None:
    told, hint = fault(text, "toml")
    assert told.startswith(message) and hint


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "s: the file is empty"),
        ("# nothing\n", "s: the file is empty"),
        ("epochs\n", "s: expected an object or a list of objects, got a string"),
        ("a: [1\nb: 2\n", "s:2:2: not valid YAML: "),
        ("a: 1\n---\nb: 2\n", "s:2:1: not valid YAML: "),
        ("a: \x01\n", "s: not valid YAML: "),
        ("a: 1\nb: 2\na: 3\n", "s:3:1: 'a' is given twice"),
        ("a: 1\n[a, b]: [1, 2]\n", "s:2:1: 'a' is given twice, again in '[a,b]'"),
        ("- a: 1\n- b:\n", "s:2:3: 'b' holds null"),
        ("a: [1, ~]\n", "s:1:1: 'a' holds null"),
        ("a: .NaN\n", "s:1:1: 'a' is nan, which is not a number"),
        ("a: -.inf\n", "s:1:1: 'a' is -inf, which is not a number"),
        ("a:\n  b: 1\n", "s:1:1: 'a' holds an object"),
        ("base: 1\n<<: {a: 1}\n", "s:2:1: '<<' holds an object"),
        ("a: !!python/name:os.system x\n", "s:1:4: 'x' cannot be read as tag:yaml.org,2002:python/name:os.system"),
        ("a: !!int x\n", "s:1:4: 'x' cannot be read as tag:yaml.org,2002:int"),
        ("a: &a [*a]\n", "s: the lists are nested too deeply"),
        ("- " * 50_000, "s: the lists are nested too deeply"),
        ("{" * 50_000, "s: the lists are nested too deeply"),
        ("{a: 1}: 2\n", "s:1:1: a key is an object"),
        ("[a, {b: 1}]: [1, 2]\n", "s:1:1: the key "),
        ("a b: 1\n", "s:1:1: the key 'a b' has a space in it"),
    ],
)
def test_a_fault_in_yaml(text: str, message: str) -> None:
    told, hint = fault(text, "yaml")
    assert told.startswith(message) and hint


# --- at the edge ---


def given_stdin(monkeypatch: pytest.MonkeyPatch, raw: bytes) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(raw)))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("absent.json", ": no such file"),
        ("", ": a folder, not a file"),
        ("secret.json", ": cannot be read: Permission denied"),
        ("latin.json", ": not UTF-8"),
        ("a\0b", ": cannot be read: embedded null byte"),
        ("latin.json/x", ": cannot be read: Not a directory"),
    ],
)
def test_a_file_that_cannot_be_read(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "secret.json").write_text("{}")
    (tmp_path / "secret.json").chmod(0)
    (tmp_path / "latin.json").write_bytes(b'{"a": "\xe9"}')
    with pytest.raises(UsageError) as caught:
        read_sweep(f"{tmp_path}/{name}")
    assert caught.value.message == f"{tmp_path}/{name}{message}" and caught.value.hint


def test_a_file_is_read_from_the_home_and_with_a_byte_order_mark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "s.json").write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert list(points(read_sweep("~/s.json"))) == [(("a", 1),)]


@pytest.mark.parametrize("word", ["stdin", "STDIN", "-"])
def test_stdin_is_read_and_named(word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given_stdin(monkeypatch, b"a: [1, 2]\n")
    assert count(read_sweep(word)) == 2
    given_stdin(monkeypatch, b'{"a": null}')
    with pytest.raises(UsageError, match=r"^stdin:1:2: 'a' holds null"):
        read_sweep(word)
    given_stdin(monkeypatch, b"\xff")
    with pytest.raises(UsageError, match=r"^stdin: not UTF-8"):
        read_sweep(word)


SWEEP = '[{"a": [1, 0.5, true], "b": "é \\"x\\""}, {}, {"[c,d]": [[1, "2 3"]]}]'


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("text", [SWEEP, "{}"])
def test_expand_prints_the_list_as_json(
    text: str, indent: int | None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    given_stdin(monkeypatch, text.encode())
    assert main(["expand", "stdin", *(["--pprint"] if indent else [])]) == 0
    assert capsys.readouterr().out == json.dumps(jobs(text), indent=indent) + "\n"


@pytest.mark.parametrize("option", ["--print-flags", "--print_flags"])
def test_expand_prints_a_job_a_line_for_a_shell(
    option: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    given_stdin(monkeypatch, SWEEP.encode())
    assert main(["expand", option, "stdin"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert [shlex.split(line) for line in printed] == [[*flags(point)] for point in points(parse(SWEEP, "json", "x"))]
    assert printed[0] == """--a 1 --b 'é "x"'"""


def test_a_fault_is_told_once_and_nothing_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["expand", "nowhere.json"]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.splitlines()[0] == "error: nowhere.json: no such file"


def test_what_expand_prints_does_not_depend_on_the_locale(monkeypatch: pytest.MonkeyPatch) -> None:
    given_stdin(monkeypatch, '{"é": "ü"}'.encode())
    printed = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr("sys.stdout", printed)
    assert main(["expand", "stdin", "--print-flags"]) == 0
    assert printed.buffer.getvalue() == "'--é' 'ü'\n".encode()


def test_what_expand_prints_expands_to_itself() -> None:
    printed = json.dumps(jobs(SWEEP))
    assert jobs(printed) == jobs(SWEEP)


def test_a_long_list_of_objects_keeps_its_places() -> None:
    many = [{"a": [1, 2], "b": "x"}] * 5000
    text = json.dumps(many)[:-1] + ',\n  {"b": 1, "c": []}]'
    assert fault(text)[0] == "s:2:12: 'c' is an empty list"
    assert math.prod((2, 5000)) == count(parse(json.dumps(many), "json", "x"))
