"""The labels of a job on Vertex AI, and the filters that find jobs by them (pure)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from ocicaliban.errors import UsageError
from ocicaliban.model.job import Parameters, Scalar

JOB_LABEL = "ocicaliban-job"
"""The label with a job's key. By it a job is found whose answer was lost."""

ATTEMPT_LABEL = "ocicaliban-attempt"
"""The label with the number of the attempt. To the service, each attempt is another job."""

GROUP_LABEL = "ocicaliban-group"
"""The label with a job's group. By it the states of hundreds of jobs come in a few lists."""

MOST_LABELS = 64
"""How many labels the service takes for one job (Google Cloud's "Requirements for labels")."""

_LONGEST = 63  # characters in a label's key or value, by the same page


def label_key(text: str) -> str:
    """Return `text` as the key of a label, as Caliban makes it; "" if no character of it is allowed."""
    clean = _clean(text)
    return (f"k{clean}" if clean and not clean[0].isalpha() else clean)[:_LONGEST]


def label_value(value: Scalar) -> str:
    """Return a value as that of a label: `true` for True, `0_001` for 0.001."""
    return _clean(str(value).lower() if isinstance(value, bool) else str(value))[:_LONGEST]


_NUMBER = re.compile(r"-\.?\d.*")


def parameters_of(args: Sequence[str]) -> Parameters:
    """Return the parameters in a script's arguments: `--lr 0.1`, `--lr=0.1`, and `--fast`, whose value is "".

    Caliban makes labels of these too. A negative number is a value.
    """
    found: list[tuple[str, Scalar]] = []
    for number, word in enumerate(args):
        name, equals, value = word.partition("=")
        if not re.match("--?[^-]", name) or _NUMBER.fullmatch(name):
            continue
        after = args[number + 1] if number + 1 < len(args) else "-"
        if not equals and (not after.startswith("-") or _NUMBER.fullmatch(after)):
            value = after
        found.append((name.lstrip("-"), value))
    return tuple(found)


def _clean(text: str) -> str:
    return re.sub(r"[^a-z0-9_-]", "", text.replace(".", "_").lower()).lstrip("-")


def labels(
    key: str, group: str, attempt: int = 1, given: Iterable[tuple[str, str]] = (), parameters: Parameters = ()
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return a job's labels, and the names of the parameters that do not fit among them.

    The labels are the job's key, attempt and group, those `given` by --label, and the parameters. Two parameters that
    would have the same key get numbers. Raises UsageError for a label of the user's that would be lost: it has no
    allowed character, or collides with another one or with ours.
    """
    made = {JOB_LABEL: key, ATTEMPT_LABEL: str(attempt), GROUP_LABEL: label_value(group)}
    if label_value(key) != key:
        hint = "lower case, digits, - and _, at most 63 of them"
        raise UsageError(f"the job's key '{key}' cannot be the value of a label", hint)
    ours = len(made)
    origin = {JOB_LABEL: "the job's key", ATTEMPT_LABEL: "the attempt's number", GROUP_LABEL: "the job's group"}
    for name, value in given:
        clean = label_key(name)
        if not clean:
            raise UsageError(f"--label {name}: it has no letter or digit", "for example --label team=vision")
        if clean in made:
            raise UsageError(f"--label {name} collides with {origin[clean]}: both are '{clean}'", "rename one of them")
        made[clean], origin[clean] = label_value(value), f"--label {name}"
    if len(made) > MOST_LABELS:
        most = f"at most {MOST_LABELS - ours} beside ours"
        raise UsageError(f"{len(made) - ours} labels are more than Vertex AI takes", most)
    left_out = []
    for parameter, scalar in parameters:
        clean = _free(label_key(parameter), made)
        if not clean or len(made) == MOST_LABELS:
            left_out.append(parameter)
        else:
            made[clean] = label_value(scalar)
    return made, tuple(left_out)


def _free(key: str, taken: Mapping[str, str]) -> str:
    """Return `key`, or the first of `key_2`, `key_3`, ... that is not taken yet."""
    if not key or key not in taken:
        return key
    numbered = (f"{key[: _LONGEST - len(str(number)) - 1]}_{number}" for number in range(2, len(taken) + 3))
    return next(candidate for candidate in numbered if candidate not in taken)


def group_filter(*groups: str) -> str:
    """Return the filter of a list that has the jobs of these groups."""
    return " OR ".join(f'labels.{GROUP_LABEL}="{label_value(group)}"' for group in groups)


def key_filter(*keys: str) -> str:
    """Return the filter of a list that has every attempt at the jobs with these keys."""
    return " OR ".join(f'labels.{JOB_LABEL}="{key}"' for key in keys)
