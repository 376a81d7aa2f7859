"""Ask Optuna for the next point. The only module that knows Optuna.

A study is made of the trials each time, so nothing of it has to be kept: the history is its storage.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from typing import Any

from ocicaliban.errors import OcicalibanError
from ocicaliban.model.job import Parameters
from ocicaliban.search import space as spaces
from ocicaliban.search.space import Space
from ocicaliban.search.trials import Goal, Trial

_TRIES = 10
"""How often Optuna is asked for another point if it names one that was tried."""


def require() -> None:
    """Raise OcicalibanError if Optuna is not installed."""
    try:
        import optuna  # noqa: F401
    except ImportError as exc:
        raise OcicalibanError(
            "--search optuna needs the package optuna, which is not installed",
            "install ocicaliban with the extra `optuna`; --search random needs nothing",
        ) from exc


def next_point(space: Space, wanted: Goal, group: str, number: int, trials: Sequence[Trial]) -> Parameters | None:
    """Return a point that is none of the trials'; None if the space has no other one.

    Optuna's choice depends on the trials, the group and the `number` of the new trial alone. Raises OcicalibanError if
    Optuna fails.
    """
    require()
    import optuna

    used = {spaces.identity(trial.parameters) for trial in trials}
    if 0 < spaces.size(space) <= len(used):
        return None
    known = [found for trial in trials if (found := _frozen(space, trial)) is not None]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what it calls experimental
            optuna.logging.set_verbosity(optuna.logging.ERROR)
            for attempt in range(_TRIES):
                found = _asked(space, wanted, f"{group}\0{number}\0{attempt}", known)
                if spaces.identity(found) not in used:
                    return found
    except (ValueError, TypeError, RuntimeError, KeyError, optuna.exceptions.OptunaError) as exc:
        raise OcicalibanError(
            f"Optuna cannot name the next point: {exc}", "--search random goes on without it"
        ) from exc
    return spaces.unused(space, f"{group}\0{number}", used)


def _asked(space: Space, wanted: Goal, seed: str, known: list[Any]) -> Parameters:
    import optuna

    sampler = optuna.samplers.TPESampler(
        seed=int.from_bytes(hashlib.sha256(seed.encode("utf-8", "surrogateescape")).digest()[:4], "big"),
        constant_liar=True,  # jobs run side by side
    )
    direction = "maximize" if wanted.better == "highest" else "minimize"
    study = optuna.create_study(sampler=sampler, direction=direction)
    study.add_trials(known)
    trial = study.ask(_distributions(space))
    return spaces.at(space, [trial.params[name] for name in _names(space)])


def _names(space: Space) -> list[str]:
    return [axis.name or ",".join(name for name, _ in axis.choices[0]) for axis in space.axes]


def _distributions(space: Space) -> dict[str, Any]:
    from optuna import distributions

    made: dict[str, Any] = {}
    for name, axis in zip(_names(space), space.axes, strict=True):
        if axis.range is None:
            made[name] = distributions.CategoricalDistribution(tuple(range(len(axis.choices))))
        elif axis.range.kind == "int":
            made[name] = distributions.IntDistribution(int(axis.range.low), int(axis.range.high), log=axis.range.log)
        else:
            made[name] = distributions.FloatDistribution(axis.range.low, axis.range.high, log=axis.range.log)
    return made


def _frozen(space: Space, trial: Trial) -> Any:
    """Return a trial as Optuna has it; None for one of another space."""
    import optuna
    from optuna.trial import TrialState

    where = spaces.place(space, trial.parameters)
    if where is None:
        return None
    curve = trial.curve
    between = dict(zip(map(int, curve.steps), curve.values, strict=True)) if curve else {}
    states = {
        "running": TrialState.RUNNING,
        "complete": TrialState.COMPLETE if trial.value is not None else TrialState.FAIL,
        "pruned": TrialState.PRUNED,
        "failed": TrialState.FAIL,
    }
    state = states[trial.state]
    return optuna.create_trial(
        params=dict(zip(_names(space), where, strict=True)),
        distributions=_distributions(space),
        state=state,
        value=trial.value if state == TrialState.COMPLETE else None,
        intermediate_values=between,
    )
