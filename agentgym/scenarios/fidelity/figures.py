"""A measured figure, or the reason why there is none."""

from collections.abc import Callable, Sequence
from math import inf
from typing import Self

from pydantic import BaseModel, ConfigDict, model_validator

from agentgym.errors import InsufficientData
from agentgym.statistics import Estimate, Interval, mean_estimate, ratio_estimate


class Value(BaseModel):
    """A frozen value that travels as JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Figure(Value):
    """estimate: None where it is undefined, and then `reason` says why.   observations: calls or conversations it rests on."""

    observations: int
    estimate: Estimate | None = None
    reason: str = ""

    @model_validator(mode="after")
    def _is_measured_or_not(self) -> Self:
        if (self.estimate is None) == (self.reason == ""):
            raise ValueError("a figure has an estimate, or the reason why there is none")
        return self

    @property
    def mean(self) -> float | None:
        return None if self.estimate is None else self.estimate.mean


def share(truths: Sequence[bool], clusters: Sequence[str], *, of: str) -> Figure:
    """How many of these are true, 0–1.   of: what is counted, such as `calls`."""
    return _figure(lambda: ratio_estimate([float(truth) for truth in truths], [1.0] * len(truths), clusters), len(truths), of)


def mean(values: Sequence[float], clusters: Sequence[str], *, of: str, bounds: Interval = (-inf, inf)) -> Figure:
    return _figure(lambda: mean_estimate(values, clusters, bounds=bounds), len(values), of)


def unmeasured(reason: str, *, observations: int = 0) -> Figure:
    return Figure(observations=observations, reason=reason)


def measured(estimate: Callable[[], Estimate], observations: int) -> Figure:
    """What `estimate` gives, or the reason for which it is undefined."""
    try:
        return Figure(observations=observations, estimate=estimate())
    except InsufficientData as error:
        return unmeasured(str(error), observations=observations)


def _figure(estimate: Callable[[], Estimate], observations: int, of: str) -> Figure:
    return measured(estimate, observations) if observations else unmeasured(f"There are no {of}.")
