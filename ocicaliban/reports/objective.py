"""Which metric of a report matters, and whether high or low values of it are better (pure)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

from attrs import frozen

Better = Literal["highest", "lowest"]

# Words in a metric's name that tell which of its values are good.
_LOW = re.compile("loss(es)?|err(ors?)?|mse|rmse|mae|mape|nll|perplexity|ppl|wer|cer|fid|latency|bpc|bpb")
_HIGH = re.compile(
    "acc|accuracy|auc|auroc|auprc|f1|score|precision|recall|reward|return|bleu|rouge|iou|miou|dice|map|psnr|ssim|r2"
    "|throughput|top1|top5|likelihood"
)
_HELD_OUT = {"val", "valid", "validation", "test", "eval"}
_TRAINING = {"train", "training"}


@frozen(kw_only=True)
class Objective:
    """What the best job is: the one with the highest or lowest value in the column of this name."""

    column: str
    better: Better


def better_values(metric: str) -> Better | None:
    """Return which values of a metric are better, judging by its name; None if the name does not tell."""
    words = _words(metric)
    if any(map(_LOW.fullmatch, words)):
        return "lowest"
    return "highest" if any(map(_HIGH.fullmatch, words)) else None


def guess(metrics: Iterable[tuple[str, str]]) -> Objective | None:
    """Return the objective that the names of metrics suggest, given as (column, metric); None if they suggest none.

    Metrics of validation or test come first, those of training last, in the order given otherwise.
    """
    for column, metric in sorted(metrics, key=lambda each: _rank(_words(each[1]))):
        if (better := better_values(metric)) is not None:
            return Objective(column=column, better=better)
    return None


def _rank(words: set[str]) -> int:
    return 0 if words & _HELD_OUT else 2 if words & _TRAINING else 1


def _words(name: str) -> set[str]:
    return set(re.split(r"[^a-z0-9]+", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()))
