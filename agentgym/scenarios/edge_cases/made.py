"""Edge cases as they were made: the cases, how many of each kind, and why a kind has none."""

from collections import Counter
from collections.abc import Sequence
from typing import Self

from pydantic import BaseModel, ConfigDict

from agentgym.environments.case import Case
from agentgym.environments.edge import EDGE_KINDS, EdgeKind


class EdgeCases(BaseModel):
    """cases: ready to play, each proven to have a right solution.   tried: how many cases each kind was tried on.

    skipped: why there is none of a kind.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    cases: tuple[Case, ...]
    tried: dict[EdgeKind, int]
    skipped: dict[EdgeKind, str]

    @classmethod
    def of(cls, cases: Sequence[Case], tried: dict[EdgeKind, int], reasons: dict[EdgeKind, str]) -> Self:
        """reasons: what to say of a kind of which there is no case."""
        made = {case.edge.kind for case in cases if case.edge}
        fallback = "None of the cases has what it takes."
        skipped = {kind: reasons.get(kind, fallback) for kind in EDGE_KINDS if kind not in made}
        return cls(cases=tuple(cases), tried=tried, skipped=skipped)

    @property
    def counts(self) -> dict[str, int]:
        """Cases by kind, those that have none at 0."""
        made = Counter(case.edge.kind for case in self.cases if case.edge)
        return {kind: made[kind] for kind in EDGE_KINDS}
