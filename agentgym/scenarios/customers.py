"""Which simulated customer plays the recordings: who follows them, who goes on from the goal, or a language model in their place."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from functools import cached_property
from itertools import pairwise
from typing import Final, Literal, get_args

from agentgym.environments.case import Case
from agentgym.environments.conversation import SimulatedClock, SimulatedUser
from agentgym.environments.customer_profile import CustomerProfile
from agentgym.environments.dialogue import RecordedCustomer
from agentgym.environments.goal_customer import GoalCustomer
from agentgym.environments.language_customer import LanguageCustomer
from agentgym.environments.language_model import LanguageModel
from agentgym.environments.profile_mining import PATIENCE_FLOOR, mine_profile
from agentgym.environments.questions import Cues, learn_cues
from agentgym.environments.recording import Playhead
from agentgym.errors import InvalidInput
from agentgym.traces.trace import Trace

CustomerKind = Literal["recorded", "goal", "language"]
KINDS: Final[tuple[CustomerKind, ...]] = get_args(CustomerKind)
# Recordings that questions are learned from: more of them tell little more, and reading each takes a hundredth of a second.
CUES_FROM = 300


def customer_kind(name: str) -> CustomerKind:
    """The kind of this name. Raises InvalidInput for one that is none."""
    found = next((kind for kind in KINDS if kind == name), None)
    if found is None:
        raise InvalidInput(f"A customer is of a known kind; {name!r} is none. Choose {', '.join(KINDS[:-1])} or {KINDS[-1]}.")
    return found


def read_values(text: str, today: date) -> Iterator[str]:
    """What words mean besides what they spell: dates, times, numbers, and short names of places."""
    # The planner's package brings PyTorch in, and a scenario that follows its record does without.
    from agentgym.policies.planner.mentions import ALIASES
    from agentgym.policies.planner.normalisers import found_values

    for found in found_values(text, today):
        yield found.value
    words = text.lower().replace(",", " ").replace(".", " ").split()
    for alias in (*words, *map(" ".join, pairwise(words))):
        if alias in ALIASES:
            yield ALIASES[alias]


def today_of(trace: Trace) -> date:
    """The day a recording happened, else the day its episodes happen on."""
    return (trace.started_at or SimulatedClock().start).date()


def profile_of(trace: Trace, *, patience_floor: int = PATIENCE_FLOOR) -> CustomerProfile:
    """Who the customer of a recording is. Raises InvalidInput when they never speak."""
    return mine_profile(trace, today=today_of(trace), read=read_values, patience_floor=patience_floor)


class Customers:
    """Makes the customers of one scenario, and remembers who they are.

    recordings: what agents' questions are learned from.   patience_turns: of the recorded kind, the turns it allows off the record; of
    the others, the least anybody waits.
    """

    def __init__(self, kind: CustomerKind, recordings: Sequence[Trace], *, patience_turns: int, model: LanguageModel | None = None) -> None:
        if (kind == "language") != (model is not None):
            raise InvalidInput(
                f"A language model plays the customer of the kind 'language', and only that; the kind is {kind!r} and a model is "
                f"{'given' if model else 'missing'}. Set AGENTGYM_LLM_BASE_URL and AGENTGYM_LLM_MODEL, or choose another kind."
            )
        self._kind = kind
        self._recordings = recordings
        self._patience_turns = patience_turns
        self._model = model
        self._has_answered = False
        self._profiles: dict[str, CustomerProfile] = {}

    def create(self, playhead: Playhead, *, follows_record: bool = True) -> SimulatedUser:
        if self._kind == "recorded":
            return RecordedCustomer(playhead, patience_turns=self._patience_turns)
        if self._model is not None:
            self._require_answer(self._model)
            return LanguageCustomer(self._model, profile_of=self.profile, today_of=_today, read=read_values, playhead=playhead)
        return GoalCustomer(
            playhead,
            profile_of=self.profile,
            cues=self.cues,
            read=read_values,
            today_of=_today,
            follows_record=follows_record,
        )

    def profile(self, case: Case) -> CustomerProfile:
        """Who plays the case; mined when it is first asked for."""
        return self._profile(_recording(case))

    @cached_property
    def cues(self) -> Cues:
        return learn_cues(self._profile(trace) for trace in evenly(self._recordings, CUES_FROM))

    def _require_answer(self, model: LanguageModel) -> None:
        """Raises Unavailable before the first episode rests on a model that is away."""
        if not self._has_answered:
            model.require_answer()
            self._has_answered = True

    def _profile(self, trace: Trace) -> CustomerProfile:
        known = self._profiles.get(trace.conversation_id)
        if known is None:
            known = self._profiles[trace.conversation_id] = profile_of(trace, patience_floor=max(1, self._patience_turns))
        return known


def evenly(recordings: Sequence[Trace], most: int) -> Iterable[Trace]:
    """At most so many recordings, from all over them."""
    step = max(1, -(-len(recordings) // most))
    return recordings[::step]


def _today(case: Case) -> date:
    return today_of(_recording(case))


def _recording(case: Case) -> Trace:
    if case.recording is None:
        raise InvalidInput(
            f"A customer is mined from a recording; {case.case_id!r} has none. Play it in {case.scenario!r}, which declares its customers."
        )
    return case.recording
