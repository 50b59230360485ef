"""How much there is to learn in a set of conversations: kinds, ways to go about them, words, and how far each is from the next."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from agentgym.environments.case import Case
from agentgym.errors import InsufficientData
from agentgym.traces.near_duplicates import NEAR, Signature, signature_of, similarity
from agentgym.traces.trace import Trace
from agentgym.verdicts import EvaluationReport

_WORD = re.compile(r"[a-z']+")
# Each conversation is compared with all others; beyond this many, with as many, spread over the set.
_COMPARED = 2_000


class Diversity(BaseModel):
    """kinds: services or tools most called.   call_sequences: distinct orders of tools.   vocabulary: distinct words of the customers.

    distance: mean over conversations of 1 − the share of runs of three words (Jaccard, estimated by MinHash) they have in common with the
    nearest other, values counted; 0 where every one has a copy, 1 where none has anything in common with another; None of a single one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    conversations: int
    kinds: int
    call_sequences: int
    vocabulary: int
    distance: float | None


class Difficulty(BaseModel):
    """How hard cases are: by how many calls are due, and as they were played where somebody played them.

    due_calls: mean for each case.   solved: share, by who played and kind.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    cases: int
    by_calls_due: dict[str, int]
    due_calls: float
    solved: dict[str, dict[str, float]] = {}


class Distinct:
    """Conversations of which none nearly repeats another one, names and numbers included."""

    def __init__(self, traces: Iterable[Trace] = ()) -> None:
        self._signatures: NDArray[np.uint32] = np.empty((0, 128), np.uint32)
        self._count = 0
        for trace in traces:
            self._keep(signature_of(trace, masks_values=False))

    def add(self, trace: Trace) -> bool:
        """Whether it says something new; it is kept then."""
        signature = signature_of(trace, masks_values=False)
        is_new = not self._count or bool(np.all(similarity(self._signatures[: self._count], signature) < NEAR))
        if is_new:
            self._keep(signature)
        return is_new

    def _keep(self, signature: Signature) -> None:
        if self._count == len(self._signatures):
            self._signatures = np.concatenate([self._signatures, np.empty((max(64, self._count), 128), np.uint32)])
        self._signatures[self._count] = signature
        self._count += 1


def diversity_of(traces: Sequence[Trace]) -> Diversity:
    """Raises InsufficientData without conversations."""
    if not traces:
        raise InsufficientData("Diversity is a matter of conversations; got none. Give a log with some.")
    sequences = [tuple(call.name for message in trace.messages for call in message.tool_calls) for trace in traces]
    words = {word for trace in traces for said in trace.messages if said.role == "user" for word in _WORD.findall(said.content.lower())}
    return Diversity(
        conversations=len(traces),
        kinds=len({_kind(trace) for trace in traces}),
        call_sequences=len(set(sequences)),
        vocabulary=len(words),
        distance=_distance(traces) if len(traces) > 1 else None,
    )


def difficulty_of(cases: Sequence[Case], reports: Mapping[str, EvaluationReport] | None = None) -> Difficulty:
    """reports: of who played the cases, by name; without any, what the cases ask for is all that is known of their difficulty.

    Raises InsufficientData without cases.
    """
    if not cases:
        raise InsufficientData("Difficulty is a matter of cases; got none. Give a log that calls tools.")
    return Difficulty(
        cases=len(cases),
        by_calls_due=dict(sorted(Counter(_calls_due(case) for case in cases).items())),
        due_calls=sum(len(case.expected_calls) for case in cases) / len(cases),
        solved={name: _solved(report) for name, report in (reports or {}).items()},
    )


def _solved(report: EvaluationReport) -> dict[str, float]:
    """Share of cases solved by kind, and of all."""
    rows = [(row.kind, row.measures["success_rate"].numerator) for row in report.rows if "success_rate" in row.measures]
    kinds = ["all", *sorted({kind for kind, _ in rows})]
    of_kind = {kind: [solved for own, solved in rows if kind in ("all", own)] for kind in kinds}
    return {kind: sum(solved) / len(solved) for kind, solved in of_kind.items() if solved}


def _calls_due(case: Case) -> str:
    due = len(case.expected_calls)
    return "none" if not due else "one" if due == 1 else "two or three" if due < 4 else "four or more"


def _kind(trace: Trace) -> str:
    called = Counter(call.name.rpartition(".")[0] or call.name for message in trace.messages for call in message.tool_calls)
    return called.most_common(1)[0][0] if called else "talk"


def _distance(traces: Sequence[Trace]) -> float:
    every = max(1, len(traces) // _COMPARED)
    signatures = np.stack([signature_of(trace, masks_values=False) for trace in traces[::every]])
    nearest = []
    for place, signature in enumerate(signatures):
        shares = similarity(signatures, signature)
        shares[place] = 0.0
        nearest.append(float(shares.max()) if len(shares) > 1 else 0.0)
    return 1 - sum(nearest) / len(nearest)
