"""What there is to learn from: cases to play, recorded conversations, preferences between them, and a teacher."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from agentgym.episode import Outcome, Policy
from agentgym.policies.checkpoint import Checkpoint
from agentgym.scenarios.pack import ScenarioPack
from agentgym.traces.trace import Trace

_WORTH = {Outcome.RESOLVED: 1.0, Outcome.ESCALATED: 1.0, Outcome.UNRESOLVED: 0.0, Outcome.ABANDONED: 0.0}
# A score alone, without an outcome, tells well from badly served customers only at its ends.
_MIDDLE_SCORE = 3.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Preference:
    """Of two conversations about the same concern, the better and the worse one.

    They may begin with the same messages: what both have in common teaches nothing.
    """

    chosen: Trace
    rejected: Trace


@dataclass(frozen=True, kw_only=True)
class Experience:
    """Everything a method may learn from; each uses what it needs. Nothing of a held-out customer is in it but the pack's held-out part,
    which no method looks at.

    pack: cases to play.   traces: recorded, of training customers, whatever became of them.   preferences: given by people.
    teacher: who shows how it is done.
    """

    pack: ScenarioPack
    traces: Sequence[Trace] = ()
    preferences: Sequence[Preference] = ()
    teacher: Checkpoint | Policy | None = None


def preferences_between(traces: Sequence[Trace], pack: ScenarioPack, *, rng: np.random.Generator) -> list[Preference]:
    """For each conversation that went badly one of the same kind that went well, by outcome, then by satisfaction score.

    The kind is that of the trace's own case; traces without one, and kinds that always or never went well, make no pair.
    """
    kinds = defaultdict[str, list[Trace]](list)
    kind_of = {case.case_id: case.kind for case in pack.train}
    for trace in traces:
        kind = trace.tags.get("kind") or kind_of.get(trace.conversation_id)
        if kind is not None:
            kinds[kind].append(trace)
    return [preference for _, alike in sorted(kinds.items()) for preference in _pairs(alike, rng)]


def _pairs(traces: Sequence[Trace], rng: np.random.Generator) -> list[Preference]:
    worth = [(trace, _worth(trace)) for trace in traces]
    good = [trace for trace, value in worth if value is not None and value > 0]
    bad = [trace for trace, value in worth if value is not None and value <= 0]
    return [Preference(chosen=good[int(rng.integers(len(good)))], rejected=trace) for trace in bad] if good else []


def _worth(trace: Trace) -> float | None:
    """Above 0 where it went well, else at most 0; None where nobody knows."""
    if trace.outcome is not None:
        return _WORTH[trace.outcome]
    if trace.satisfaction_score is None or trace.satisfaction_score == _MIDDLE_SCORE:
        return None
    return trace.satisfaction_score - _MIDDLE_SCORE
