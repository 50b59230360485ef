"""A scenario made from any traces: the recorded conversations, played again with the recorded tools and customers."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

import numpy as np
from pydantic import JsonValue

from agentgym.environments.case import Case
from agentgym.environments.conversation import ConversationEnv, SimulatedClock
from agentgym.environments.language_model import LanguageModel
from agentgym.environments.profile_mining import PATIENCE_FLOOR
from agentgym.environments.recorded_answers import RecordedAnswers
from agentgym.environments.recording import Playhead, RecordedCall, Recording, read_recording
from agentgym.environments.replay import RecordedAgent
from agentgym.environments.reward_function import learn_satisfaction_words
from agentgym.environments.tool_mocker import ToolMocker
from agentgym.episode import Outcome, Policy, Trajectory
from agentgym.errors import InsufficientData
from agentgym.reward import BY_EQUAL_WORDS, RewardWeights, SatisfactionWords, Similarity
from agentgym.scenarios.customers import CustomerKind, Customers
from agentgym.scenarios.pack import ScenarioPack
from agentgym.scenarios.registry import ScenarioRegistry
from agentgym.scenarios.scenario import Difficulty, Scenario
from agentgym.tools import Tool
from agentgym.traces.matching import canonical
from agentgym.traces.mining import mine_tools
from agentgym.traces.own_words import CallKeys
from agentgym.traces.trace import Trace

RECORDED = "recorded"
# On the record the words are the recorded agent's, so neither their length nor the time they take is the policy's to save.
RECORDED_REWARD = RewardWeights(token_saving=0.0, speed=0.0)
# An agent that waits where the record calls would be told more than the recorded agent knew when it called, and would learn to wait.
PATIENCE_TURNS = 0
# Calls and turns beyond the longest record before an episode is cut: room to err and to recover.
SPARE_TURNS = 10
# A customer on their own may be asked one by one what the recorded one told at once; their patience is to end before the turns do.
FREE_TURNS = 3


class RecordedScenario(Scenario):
    """Recorded conversations to play. What the policy is paid for is doing what the accepted record did, at the point where it did it."""

    name = RECORDED
    description = "recorded conversations, played again with the tools and customers of the record"
    difficulty: Difficulty = "medium"

    def __init__(
        self,
        pack: ScenarioPack,
        *,
        customer: CustomerKind = "recorded",
        patience_turns: int | None = None,
        model: LanguageModel | None = None,
        tape: bool = False,
        keys: CallKeys | None = None,
    ) -> None:
        """pack: from `make_recorded_pack`; its training cases are also what the tools answer from.

        customer: `recorded` follows the record; `goal` goes on from its goal and facts where the agent leaves it; `language` is played by
        `model` from the first reply on, which has to answer before an environment is made.
        patience_turns: of the customer; None for what its kind is used with.
        tape: a call that the case's own recording does not make raises NotOnTape and fails the episode.
        keys: tell which calls ask for the same; None learns them from the training cases.
        """
        is_recorded = customer == "recorded"
        patience = patience_turns if patience_turns is not None else PATIENCE_TURNS if is_recorded else PATIENCE_FLOOR
        self.customers = Customers(
            customer, [case.recording for case in pack.train if case.recording], patience_turns=patience, model=model
        )
        self._is_tape = tape
        self._tools = pack.tools
        self._cases = pack.train or pack.held_out
        self._all_cases = (*pack.train, *pack.held_out, *pack.edge, *pack.regression)
        self._answers = RecordedAnswers.of([case.recording for case in pack.train if case.recording], keys)
        longest = max((_turns(case) for case in (*pack.train, *pack.held_out)), default=0)
        self._max_turns = SPARE_TURNS + (longest if is_recorded else FREE_TURNS * longest)

    @property
    def tools(self) -> tuple[Tool, ...]:
        return self._tools

    def create_environment(
        self, *, reward: RewardWeights | None = None, tape: bool | None = None, follows_record: bool = True
    ) -> ConversationEnv:
        """tape: as in the scenario, for this environment; None takes the scenario's.

        follows_record: False has a customer of the kind `goal` go on from its goal from the first turn on; calls are due in any order then.
        """
        playhead, weights = Playhead(self._answers.keys), reward or RECORDED_REWARD
        if weights.expressed_satisfaction and weights.satisfaction_words is None:
            weights = weights.model_copy(update={"satisfaction_words": self._satisfaction_words})
        return ConversationEnv(
            ToolMocker(
                self._answers,
                playhead,
                tools=self._tools,
                is_tape=self._is_tape if tape is None else tape,
                in_order=follows_record,
            ),
            self.customers.create(playhead, follows_record=follows_record),
            tools=self._tools,
            draw_case=self.draw_case,
            reward=weights,
            clock=SimulatedClock(),
            max_turns=self._max_turns,
            similarity=self._similarity(weights.encoder) if weights.similarity else BY_EQUAL_WORDS,
        )

    def honest_agent(self) -> Policy:
        return RecordedAgent(self._all_cases)

    def draw_case(self, rng: np.random.Generator) -> Case:
        return self._cases[int(rng.integers(len(self._cases)))]

    def broadcast_rewards(self, trajectory: Trajectory) -> list[float]:
        turns = sum(message.role == "assistant" for message in trajectory.messages)
        return [trajectory.reward] * turns

    def success_criteria(self) -> Mapping[str, float]:
        return {"tool_reliability": 0.95}

    def _similarity(self, encoder: str | None) -> Similarity:
        if encoder is not None:
            return Similarity(encoder=encoder)
        return self._similarity_by_words

    @cached_property
    def _similarity_by_words(self) -> Similarity:
        """With the rarity of words in what the recorded agents said."""
        recordings = (read_recording(case.recording) for case in self._cases if case.recording)
        return Similarity.fit(turn.words for recording in recordings for turn in recording.turns if turn.words)

    @cached_property
    def _satisfaction_words(self) -> SatisfactionWords | None:
        """None where too few customers of the recordings gave a score: an unknown satisfaction pays nothing."""
        try:
            return learn_satisfaction_words(case.recording for case in self._cases if case.recording)
        except InsufficientData:
            return None


def scenario_of(pack: ScenarioPack) -> Scenario:
    """The scenario a pack is played in: the one registered under its name, or the one made from its own recordings."""
    return RecordedScenario(pack) if pack.scenario == RECORDED else ScenarioRegistry().load(pack.scenario)


def make_recorded_pack(train: Sequence[Trace], held_out: Sequence[Trace], snapshot_digest: str) -> ScenarioPack:
    """The traces as cases. Only accepted conversations are trained on: what a failed one did is no example of what to do.

    Held-out cases are all there are. Raises InsufficientData when no accepted conversation calls a tool.
    """
    accepted = [trace for trace in train if trace.outcome not in (Outcome.UNRESOLVED, Outcome.ABANDONED)]
    cases = tuple(map(recorded_case, accepted))
    if not any(case.expected_calls for case in cases):
        raise InsufficientData(
            f"Training needs accepted conversations that call tools; of {len(train)} conversations {len(accepted)} are accepted "
            "and none of these makes a call that succeeds. Import conversations whose outcome is resolved or unknown."
        )
    return ScenarioPack(
        scenario=RECORDED,
        tools=mine_tools((*train, *held_out)),
        train=cases,
        held_out=tuple(map(recorded_case, held_out)),
        snapshot_digest=snapshot_digest,
    )


def recorded_case(trace: Trace) -> Case:
    """The situation of a recorded conversation."""
    recording = read_recording(trace)
    due = [recorded for recorded in recording.calls if recorded.is_due]
    return Case(
        case_id=trace.conversation_id,
        scenario=RECORDED,
        kind=_kind(trace, due),
        difficulty="easy" if len(due) < 2 else "medium" if len(due) < 4 else "hard",
        cluster_id=trace.cluster_id,
        goal=recording.first_words,
        facts=_facts(recording),
        expected_calls=tuple(recorded.call for recorded in due),
        seed=int.from_bytes(hashlib.sha256(trace.conversation_id.encode()).digest()[:4]),
        recording=trace,
    )


def _turns(case: Case) -> int:
    return sum(message.role == "assistant" for message in case.recording.messages) if case.recording else 0


def _kind(trace: Trace, due: Iterable[RecordedCall]) -> str:
    """The service most called, which is the tool itself where tools have no services; `talk` when nothing is called."""
    services = {tool.name: tool.service for tool in trace.tools}
    called = Counter(services.get(recorded.call.name, recorded.call.name) for recorded in due)
    return called.most_common(1)[0][0] if called else "talk"


def _facts(recording: Recording) -> dict[str, JsonValue]:
    """What the customer knows: the first value of each argument, but for arguments whose values only tools told.

    A value that nobody said in these words came from the customer in others, such as a date from "next Friday".
    """
    spoken = canonical([recording.first_words, *(f"{turn.words} {turn.reply}" for turn in recording.turns)])
    results = canonical([recorded.result for recorded in recording.calls])
    facts: dict[str, JsonValue] = {}
    for recorded in recording.calls:
        for name, value in recorded.call.arguments.items():
            if (text := canonical(value)) in spoken or text not in results:
                facts.setdefault(name, value)
    return facts
