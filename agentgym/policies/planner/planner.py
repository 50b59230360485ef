"""The planner: decides whether to inform, ask or call a tool, and with which arguments, each a softmax over options it can score."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, NamedTuple, Self

import numpy as np
import orjson
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from agentgym.episode import Action, Conversation, Decision
from agentgym.errors import ContractBroken
from agentgym.messages import Message, ToolCall, assistant
from agentgym.policies.checkpoint import Checkpoint, Manifest, as_json, network_bytes, read_network
from agentgym.policies.planner.acts import ActOptions, act_options
from agentgym.policies.planner.arguments import argument_table
from agentgym.policies.planner.batch import Options, collated, collated_once, of_head, scoring_batch, tensors
from agentgym.policies.planner.examples import Turn, place_given, right_act
from agentgym.policies.planner.gazetteer import Gazetteer
from agentgym.policies.planner.memory import Memory
from agentgym.policies.planner.network import PlannerNetwork
from agentgym.policies.planner.normalisers import DATE, TEXT, TIME
from agentgym.policies.planner.readings import Readings
from agentgym.policies.planner.slots import plain_value
from agentgym.policies.planner.state import Key, State
from agentgym.policies.planner.vocabulary import Vocabulary
from agentgym.policies.planner.word_weights import WordWeights
from agentgym.policies.replies import Replies, TemplateReplies
from agentgym.tools import Tool

Scores = NDArray[np.float32]
Choose = Callable[[int, NDArray[np.intp]], int | None]
"""Given an argument's block and its possible places, the place chosen; None where it is not to be had."""
_ONCE_ONLY = (TEXT, DATE, TIME)
NOTHING = "nothing"


class PlannerConfig(BaseModel):
    """The size of a planner.

    table_bits: each head has 2**table_bits cells for pairs of words.   members: perceptrons in the committee of each head.
    hidden: width of their layers.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["planner"] = "planner"
    table_bits: int = Field(default=18, ge=8, le=24)
    members: int = Field(default=4, ge=1, le=16)
    hidden: int = Field(default=32, ge=4, le=1024)


_KNOWN_FROM = 3
"""A word is known when it was used in so many conversations; in fewer it is a name or a slip."""


@dataclass(frozen=True, eq=False)
class Knowledge:
    """What the planner learned to know besides its weights; constant while it is trained on-policy."""

    gazetteer: Gazetteer
    word_weights: WordWeights

    @cached_property
    def vocabulary(self) -> Vocabulary:
        return Vocabulary(self.word_weights.usual_first(least_conversations=_KNOWN_FROM))

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all of it."""
        return hashlib.sha256(orjson.dumps(self.to_json())).hexdigest()

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
    readings: Readings
    acts: ActOptions
    scores: Scores
    evidence: Options
    of_block: dict[int, Options] = field(default_factory=dict)

    def argument(self, block: int) -> Options:
        """The options of one argument."""
        if block not in self.of_block:
            self.of_block[block] = Options("argument", *self.readings.table.evidence(block))
        return self.of_block[block]


class Planner:
    """A trainable policy that extracts: it never writes a value it has not found."""

    def __init__(self, network: PlannerNetwork, knowledge: Knowledge, config: PlannerConfig, *, replies: Replies | None = None) -> None:
        self._network, self.knowledge, self.config = network, knowledge, config
        self._replies = replies or TemplateReplies()
        self._memory = Memory(knowledge.gazetteer, knowledge.vocabulary)

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint, *, replies: Replies | None = None) -> Self:
        """The planner that a checkpoint holds."""
        config = PlannerConfig.model_validate(checkpoint.manifest.configuration)
        network = PlannerNetwork(bits=config.table_bits, hidden=config.hidden, members=config.members)
        read_network(network, checkpoint.weights)
        network.learn_corrections()
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
        return Checkpoint(manifest=manifest, weights=self.weights_bytes(), knowledge=orjson.dumps(self.knowledge.to_json()))

    def weights_bytes(self) -> bytes:
        return network_bytes(self._network)

    @property
    def network(self) -> PlannerNetwork:
        return self._network

    @cached_property
    def identity(self) -> Mapping[str, str]:
        return {"knowledge": self.knowledge.digest}

    def act(self, conversation: Conversation) -> Action:
        return self.act_batch([conversation], rng=None)[0]

    def act_batch(self, conversations: Sequence[Conversation], *, rng: np.random.Generator | None) -> list[Action]:
        """One action for each conversation; equal conversations are read and scored once."""
        states = [self._memory.state_of(conversation) for conversation in conversations]
        moments = self._moments({id(state): state for state in states})
        return [self._action(conversation, moments[id(state)], rng) for conversation, state in zip(conversations, states, strict=True)]

    def recall(self, conversation: Conversation, message: Message, *, next_call: ToolCall | None) -> Action | None:
        """See `TrainablePolicy.recall`. Words count as a question or an answer, whatever they say; several calls at once are never made."""
        if len(message.tool_calls) > 1:
            return None
        state, call = self._memory.state_of(conversation), next(iter(message.tool_calls), None)
        moment = self._moments({id(state): state})[id(state)]
        chosen = right_act(Turn(state=state, call=call, next_call=next_call, is_accepted=True), moment.acts)
        if chosen is None or not moment.acts.is_possible[chosen]:
            return None
        decisions = [_act_decision(conversation, moment, chosen)]
        if call is not None:
            arguments = _chosen_arguments(moment, moment.acts.options[chosen].tool, _recalling(moment, call))
            if arguments is None or not call.arguments.keys() <= conversation.tools[moment.acts.options[chosen].tool].properties.keys():
                return None
            decisions += arguments.decisions
        return Action(message=message, decisions=tuple(decisions))

    def collate(self, decisions: Sequence[Decision]) -> Mapping[str, NDArray[Any]]:
        """Flat arrays of the decisions' options; see `batch.collated_once` and `PlannerNetwork.with_imitated`."""
        options = collated_once([_options_of(decision) for decision in decisions])
        return {name: values.numpy() for name, values in self._network.with_imitated(tensors(options)).items()}

    # --- scoring ---

    def _moments(self, states: Mapping[int, State]) -> dict[int, _Moment]:
        readings = self.read_arguments(list(states.values()))
        bits, weights = self.config.table_bits, self.knowledge.word_weights
        acts = [act_options(state, reading, weights, bits=bits) for state, reading in zip(states.values(), readings, strict=True)]
        evidence = [act_evidence(options) for options in acts]
        moments = map(_Moment, states.values(), readings, acts, self._act_scores(evidence), evidence)
        return dict(zip(states, moments, strict=True))

    def read_arguments(self, states: Sequence[State]) -> list[Readings]:
        """For each state, how probable every candidate of every argument is."""
        tables = [argument_table(state, bits=self.config.table_bits) for state in states]
        if not any(len(table.dense) for table in tables):
            return [Readings(table, np.zeros(0, np.float32)) for table in tables]
        with torch.no_grad():
            scores = self._network.argument(tensors(scoring_batch(tables))).numpy()
        parts = np.split(scores, np.cumsum([len(table.dense) for table in tables])[:-1])
        return list(map(Readings, tables, parts))

    def _act_scores(self, evidence: Sequence[Options]) -> list[Scores]:
        with torch.no_grad():
            scores = self._network.act(of_head("act", tensors(collated(evidence)))).numpy()
        return np.split(scores, np.cumsum([len(options.dense) for options in evidence])[:-1])

    # --- choosing ---

    def _action(self, conversation: Conversation, moment: _Moment, rng: np.random.Generator | None) -> Action:
        possible = np.flatnonzero(moment.acts.is_possible)
        scores = moment.scores[possible]
        chosen = int(possible[_likeliest_act(moment.acts, possible, scores) if rng is None else _sampled(scores, rng)])
        option, decision = moment.acts.options[chosen], _act_decision(conversation, moment, chosen)
        if option.kind == "inform":
            return Action(message=assistant(self._replies.inform(conversation)), decisions=(decision,))
        tool = conversation.tools[option.tool]
        if option.kind == "ask":
            words = self._replies.ask(conversation, tool, missing_arguments(moment.readings, option.tool))
            return Action(message=assistant(words), decisions=(decision,))
        arguments = _chosen_arguments(moment, option.tool, _choosing(moment, rng))
        assert arguments is not None, "an argument always has a possible place"
        call = ToolCall(id=f"call_{len(conversation.messages)}", name=tool.name, arguments=arguments.given)
        return Action(message=assistant("", call), decisions=(decision, *arguments.decisions))


def act_evidence(options: ActOptions) -> Options:
    words = options.words
    return Options("act", options.dense, words.cells, words.links, cut=words.cut, voices=words.voices)


def missing_arguments(readings: Readings, tool: int) -> list[str]:
    """Required arguments that nothing fits yet; the likeliest of them where none is missing for sure."""
    table = readings.table
    required = np.flatnonzero((table.layout.tool_of == tool) & table.layout.is_required)
    missing = [block for block in required.tolist() if readings.absent[block] >= 0.5]
    return [table.slot(block).name for block in missing or [int(required[readings.absent[required].argmax()])]]


def _act_decision(conversation: Conversation, moment: _Moment, chosen: int) -> Decision:
    option, possible = moment.acts.options[chosen], np.flatnonzero(moment.acts.is_possible)
    choice = option.kind if option.kind == "inform" else f"{option.kind} {conversation.tools[option.tool].name}"
    return _decision("act", choice, moment.evidence, possible, chosen, moment.scores)


class _Arguments(NamedTuple):
    """What a tool is called with, and a decision for each argument."""

    given: dict[str, JsonValue]
    decisions: list[Decision]


def _chosen_arguments(moment: _Moment, tool: int, choose: Choose) -> _Arguments | None:
    """The surest argument chooses first, and what it took is not offered again. None where one of them finds nothing to choose."""
    readings, table, taken = moment.readings, moment.readings.table, set[Key]()
    blocks = np.flatnonzero(table.layout.tool_of == tool)
    places: dict[int, int] = {}
    decisions = []
    for block in blocks[np.argsort(-readings.surest[blocks], kind="stable")].tolist():
        scores, possible = readings.of_block(block), readings.possible(block, taken)
        place = choose(block, possible)
        if place is None:
            return None
        if place < len(table.keys(block)):
            places[block] = place
            if table.slot(block).kind in _ONCE_ONLY:
                taken.add(table.keys(block)[place])
        choice = plain_value(table.values(block)[place]) if block in places else NOTHING
        decisions.append(_decision(f"argument {table.slot(block).name}", choice, moment.argument(block), possible, place, scores))
    given = {
        table.slot(block).name: table.slot(block).typed(table.values(block)[places[block]]) for block in blocks.tolist() if block in places
    }
    return _Arguments(given, decisions)


def _choosing(moment: _Moment, rng: np.random.Generator | None) -> Choose:
    """Draws with `rng`; takes the likeliest when it is None."""

    def choose(block: int, possible: NDArray[np.intp]) -> int:
        scores = moment.readings.of_block(block)[possible]
        return int(possible[int(scores.argmax()) if rng is None else _sampled(scores, rng)])

    return choose


def _recalling(moment: _Moment, call: ToolCall) -> Choose:
    """Takes what the call gives."""

    def choose(block: int, possible: NDArray[np.intp]) -> int | None:
        place = place_given(moment.readings.table, block, call.arguments)
        return place if place is not None and place in possible else None

    return choose


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
