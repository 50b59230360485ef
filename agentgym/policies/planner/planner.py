"""The planner: decides whether to inform, ask or call a tool, and with which arguments, each a softmax over options it can score."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import orjson
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from agentgym.episode import Action, Conversation, Decision
from agentgym.errors import ContractBroken
from agentgym.messages import ToolCall, assistant
from agentgym.policies.checkpoint import Checkpoint, Manifest, as_json, network_bytes, read_network
from agentgym.policies.planner.acts import ActOption, ActOptions, SlotReading, WordWeights, act_options
from agentgym.policies.planner.arguments import slot_options
from agentgym.policies.planner.gazetteer import Gazetteer
from agentgym.policies.planner.memory import Memory
from agentgym.policies.planner.network import Head, Options, PlannerNetwork, collated, of_head, tensors
from agentgym.policies.planner.normalisers import DATE, TEXT, TIME
from agentgym.policies.planner.slots import ToolView, plain_value
from agentgym.policies.planner.state import Key, State
from agentgym.policies.replies import Replies, TemplateReplies
from agentgym.tools import Tool

Scores = NDArray[np.float32]
_ONCE_ONLY = (TEXT, DATE, TIME)
NOTHING = "nothing"


class PlannerConfig(BaseModel):
    """The size of a planner.   table_bits: each head has 2**table_bits cells for pairs of words.   hidden: width of its layers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["planner"] = "planner"
    table_bits: int = Field(default=18, ge=8, le=24)
    hidden: int = Field(default=64, ge=4, le=1024)


@dataclass(frozen=True, eq=False, slots=True)
class Knowledge:
    """What the planner learned to know besides its weights; constant while it is trained on-policy."""

    gazetteer: Gazetteer
    word_weights: WordWeights

    def to_json(self) -> dict[str, JsonValue]:
        words = self.word_weights
        return {"gazetteer": self.gazetteer.to_json(), "word_weights": dict(words.weights), "unseen_weight": words.unseen}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        weights = WordWeights(content["word_weights"], content["unseen_weight"])
        return cls(gazetteer=Gazetteer.from_json(content["gazetteer"]), word_weights=weights)


@dataclass(frozen=True, eq=False, slots=True)
class _Moment:
    """A state with everything scored that could be done in it."""

    state: State
    readings: tuple[tuple[SlotReading, ...], ...]
    acts: ActOptions
    scores: Scores


class Planner:
    """A trainable policy that extracts: it never writes a value it has not found."""

    def __init__(self, network: PlannerNetwork, knowledge: Knowledge, config: PlannerConfig, *, replies: Replies | None = None) -> None:
        self._network, self.knowledge, self.config = network, knowledge, config
        self._replies = replies or TemplateReplies()
        self._memory = Memory(knowledge.gazetteer)

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint, *, replies: Replies | None = None) -> Self:
        """The planner that a checkpoint holds."""
        config = PlannerConfig.model_validate(checkpoint.manifest.configuration)
        network = PlannerNetwork(bits=config.table_bits, hidden=config.hidden)
        read_network(network, checkpoint.weights)
        return cls(network.eval(), Knowledge.from_json(as_json(checkpoint.knowledge)), config, replies=replies)

    def to_checkpoint(
        self, *, tools: Sequence[Tool] = (), training: Mapping[str, JsonValue] | None = None, lineage: Mapping[str, str] | None = None
    ) -> Checkpoint:
        """The planner as it is now.   tools: it was trained with.   training, lineage: see `Manifest`."""
        manifest = Manifest(
            policy=self.config.kind,
            configuration=self.config.model_dump(mode="json"),
            tools=tuple(tools),
            training=dict(training or {}),
            lineage=dict(lineage or {}),
        )
        return Checkpoint(manifest=manifest, weights=network_bytes(self._network), knowledge=orjson.dumps(self.knowledge.to_json()))

    @property
    def network(self) -> PlannerNetwork:
        return self._network

    def act(self, conversation: Conversation) -> Action:
        return self.act_batch([conversation], rng=None)[0]

    def act_batch(self, conversations: Sequence[Conversation], *, rng: np.random.Generator | None) -> list[Action]:
        """One action for each conversation; equal conversations are read and scored once."""
        states = [self._memory.state_of(conversation) for conversation in conversations]
        moments = self._moments({id(state): state for state in states})
        return [self._action(conversation, moments[id(state)], rng) for conversation, state in zip(conversations, states, strict=True)]

    def collate(self, decisions: Sequence[Decision]) -> Mapping[str, NDArray[Any]]:
        """Flat arrays of the decisions' options; see `network.collated`."""
        return collated([_options_of(decision) for decision in decisions])

    # --- scoring ---

    def _moments(self, states: Mapping[int, State]) -> dict[int, _Moment]:
        readings = self.read_arguments(list(states.values()))
        bits, weights = self.config.table_bits, self.knowledge.word_weights
        acts = [act_options(state, reading, weights, bits=bits) for state, reading in zip(states.values(), readings, strict=True)]
        scores = self._scores(self._network.act, [act_evidence(options) for options in acts])
        moments = map(_Moment, states.values(), readings, acts, scores)
        return dict(zip(states, moments, strict=True))

    def read_arguments(self, states: Sequence[State]) -> list[tuple[tuple[SlotReading, ...], ...]]:
        """For each state, tool and argument: how probable each candidate is."""
        options = [slot_options(state, bits=self.config.table_bits) for state in states]
        flat = [slot for tools in options for slots in tools for slot in slots]
        scores = iter(self._scores(self._network.argument, [Options("argument", slot.dense, slot.cells) for slot in flat]))
        return [tuple(tuple(SlotReading(slot, next(scores)) for slot in slots) for slots in tools) for tools in options]

    def _scores(self, head: Head, options: Sequence[Options]) -> list[Scores]:
        if not options:
            return []
        with torch.no_grad():
            scores = head(of_head(options[0].head, tensors(collated(options)))).numpy()
        return np.split(scores, np.cumsum([len(given.dense) for given in options])[:-1])

    # --- choosing ---

    def _action(self, conversation: Conversation, moment: _Moment, rng: np.random.Generator | None) -> Action:
        possible = np.flatnonzero(moment.acts.is_possible)
        scores = moment.scores[possible]
        chosen = int(possible[_likeliest_act(moment.acts, possible, scores) if rng is None else _sampled(scores, rng)])
        option = moment.acts.options[chosen]
        decision = _decision("act", option.name, act_evidence(moment.acts), possible, chosen, moment.scores)
        if option.view is None:
            return Action(message=assistant(self._replies.inform(conversation)), decisions=(decision,))
        readings = moment.readings[moment.state.scene.views.index(option.view)]
        if option.kind == "ask":
            words = self._replies.ask(conversation, option.view.tool, missing_arguments(readings))
            return Action(message=assistant(words), decisions=(decision,))
        call, decisions = _call(conversation, option.view, readings, rng)
        return Action(message=assistant("", call), decisions=(decision, *decisions))


def act_evidence(options: ActOptions) -> Options:
    return Options("act", options.dense, options.cells, options.links)


def missing_arguments(readings: Sequence[SlotReading]) -> list[str]:
    """Required arguments that nothing fits yet; the likeliest of them where none is missing for sure."""
    required = [reading for reading in readings if reading.options.is_required]
    missing = [reading for reading in required if reading.absent >= 0.5] or [max(required, key=lambda reading: reading.absent)]
    return [reading.options.slot.name for reading in missing]


def _call(
    conversation: Conversation, view: ToolView, readings: Sequence[SlotReading], rng: np.random.Generator | None
) -> tuple[ToolCall, list[Decision]]:
    """The call and a decision for each argument; the surest argument chooses first, and what it took is not offered again."""
    chosen = dict(_chosen_arguments(readings, rng))
    arguments = {
        reading.options.slot.name: reading.options.slot.typed(reading.options.values[place])
        for reading in readings
        if (place := chosen[reading.options.slot.name][0]) < len(reading.options.keys)
    }
    call = ToolCall(id=f"call_{len(conversation.messages)}", name=view.tool.name, arguments=arguments)
    return call, [decision for _, decision in chosen.values()]


def _chosen_arguments(readings: Sequence[SlotReading], rng: np.random.Generator | None) -> Iterator[tuple[str, tuple[int, Decision]]]:
    taken: set[Key] = set()
    for reading in sorted(readings, key=lambda reading: reading.surest, reverse=True):
        options = reading.options
        possible = reading.possible(taken)
        scores = reading.scores[possible]
        place = int(possible[int(scores.argmax()) if rng is None else _sampled(scores, rng)])
        choice = plain_value(options.values[place]) if place < len(options.keys) else NOTHING
        if place < len(options.keys) and options.slot.kind in _ONCE_ONLY:
            taken.add(options.keys[place])
        evidence = Options("argument", options.dense, options.cells)
        yield options.slot.name, (place, _decision(f"argument {options.slot.name}", choice, evidence, possible, place, reading.scores))


def _decision(name: str, choice: str, options: Options, possible: NDArray[np.intp], chosen: int, scores: Scores) -> Decision:
    log_probability = scores[chosen] - _log_sum_exp(scores[possible])
    return Decision(name=name, choice=choice, log_probability=float(log_probability), evidence=options.kept(possible, chosen))


def _likeliest_act(acts: ActOptions, possible: NDArray[np.intp], scores: Scores) -> int:
    """The likeliest call when it is likelier than all talk together, else the likeliest talk."""
    is_call = np.array([acts.options[place].kind == "call" for place in possible])
    talk, calls = np.flatnonzero(~is_call), np.flatnonzero(is_call)
    if len(calls) and scores[calls].max() >= _log_sum_exp(scores[talk]):
        return int(calls[scores[calls].argmax()])
    return int(talk[scores[talk].argmax()])


def _sampled(scores: Scores, rng: np.random.Generator) -> int:
    """A place drawn from the softmax of the scores."""
    weights = np.exp(scores.astype(np.float64) - scores.max()).cumsum()
    return int(np.searchsorted(weights, rng.random() * weights[-1], side="right"))


def _log_sum_exp(scores: Scores) -> np.float32:
    highest = scores.max()
    return np.float32(highest + np.log(np.exp(scores - highest).sum()))


def _options_of(decision: Decision) -> Options:
    if not isinstance(decision.evidence, Options):
        raise ContractBroken(
            f"A planner can only learn from decisions it took; {decision.name!r} carries {type(decision.evidence).__name__}. "
            "Sample with the policy that is trained."
        )
    return decision.evidence


__all__ = ["ActOption", "Knowledge", "Planner", "PlannerConfig"]
