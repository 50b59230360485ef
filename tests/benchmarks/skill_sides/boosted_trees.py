"""Gradient-boosted trees in place of the planner's networks: the strongest classical side of `skill.py`.

They see all that the planner sees: its features of candidates, arguments and tools, and what a linear table of hashed word pairs, fitted as
the planner's is, says of each option. One ensemble judges every candidate of an argument, a second every tool, given how sure the first one
is of its arguments. They cannot learn on-policy.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue
from sklearn.ensemble import HistGradientBoostingClassifier

from agentgym.episode import Action, Conversation
from agentgym.messages import ToolCall, assistant
from agentgym.policies.planner.act_words import ACT_VOICES
from agentgym.policies.planner.acts import KINDS, act_options
from agentgym.policies.planner.arguments import ARGUMENT_FEATURES, GAZETTEER_FEATURES, USUAL_SHARE, Rows, argument_table
from agentgym.policies.planner.batch import Options
from agentgym.policies.planner.examples import Turn, argument_examples, read_turns, right_act
from agentgym.policies.planner.fitting import FitSettings, table_of
from agentgym.policies.planner.gazetteer import Gazetteer, learn_gazetteer
from agentgym.policies.planner.memory import Memory
from agentgym.policies.planner.planner import Knowledge, act_evidence
from agentgym.policies.planner.readings import Readings
from agentgym.policies.planner.state import Key, State
from agentgym.policies.planner.vocabulary import Vocabulary
from agentgym.policies.planner.word_table import Table, words_of_options
from agentgym.policies.planner.word_weights import learn_word_weights
from agentgym.tools import Tool
from agentgym.traces.trace import Trace
from agentgym.training.warm_start import ACT_FIT, ARGUMENT_FIT, accepted, words_said

BITS = 18
HALVES = 2
HELD_OUT_PARTS = 5
THRESHOLDS = np.round(np.arange(0.2, 0.71, 0.05), 2)
_IS_CALL, _IS_LEFT_OUT = KINDS.index("call"), ARGUMENT_FEATURES - 1

Decisions = Sequence[Sequence[Options]]
"""Of each trace."""


@dataclass(frozen=True)
class Kind:
    """What is decided.   settings: of its table.   voices: of the table.   switch: the feature that tells calls, or leaving out.

    is_switched_only: whether only options with that feature are judged.
    """

    settings: FitSettings
    voices: int
    switch: int
    is_switched_only: bool


ARGUMENTS, CALLS = Kind(ARGUMENT_FIT, 1, _IS_LEFT_OUT, False), Kind(ACT_FIT, ACT_VOICES, _IS_CALL, True)


@dataclass(frozen=True)
class Judge:
    """How right each option is: trees over its features and over what the table says of its words."""

    kind: Kind
    table: Table
    trees: HistGradientBoostingClassifier

    @classmethod
    def fit(cls, of_trace: Decisions, kind: Kind, seed: int) -> "Judge":
        """The trees learn from what a table says that was fitted to the other half of the traces."""
        options = [given for trace in of_trace for given in trace]
        half = np.repeat(np.arange(len(of_trace)) % HALVES, [len(trace) for trace in of_trace])
        rows, right = [], []
        for own in range(HALVES):
            places = np.flatnonzero(half == own)
            rows.append(features_of(options, places, fitted(options, np.flatnonzero(half != own), kind, seed), kind))
            if kind is ARGUMENTS:
                blank_known_values(rows[-1], [len(options[place].dense) for place in places], np.random.default_rng(seed))
            right += [np.flatnonzero(judged(options[place], kind)) == options[place].chosen for place in places]
        trees = HistGradientBoostingClassifier(max_iter=200, learning_rate=0.1, max_leaf_nodes=31, min_samples_leaf=20, random_state=seed)
        trees.fit(np.concatenate(rows), np.concatenate(right))
        return cls(kind, fitted(options, np.arange(len(options)), kind, seed), trees)

    def scores(self, options: Sequence[Options]) -> list[Rows]:
        """The log-odds of the options that are judged, of each decision."""
        counts = [int(judged(given, self.kind).sum()) for given in options]
        if not sum(counts):
            return [np.zeros(0, np.float32) for _ in counts]
        rows = features_of(options, np.arange(len(options)), self.table, self.kind)
        return np.split(self.trees.decision_function(rows).astype(np.float32), np.cumsum(counts)[:-1])


def fitted(options: Sequence[Options], places: NDArray[np.int64], kind: Kind, seed: int) -> Table:
    return table_of(options, places, kind.settings, cells=1 << BITS, switch=kind.switch, seed=seed)


def features_of(options: Sequence[Options], places: NDArray[np.int64], table: Table, kind: Kind) -> Rows:
    """Features and words of the options that are judged, of the decisions at `places`, one below the other."""
    said = words_of_options(table, options, places, voices=kind.voices)
    whole = [np.concatenate([options[place].dense, words], axis=1) for place, words in zip(places, said, strict=True)]
    return np.concatenate([rows[judged(options[place], kind)] for place, rows in zip(places, whole, strict=True)])


def blank_known_values(rows: Rows, sizes: Sequence[int], rng: np.random.Generator) -> None:
    """Takes from some decisions what is known of values and arguments, as imitation does: of a new service nothing is known."""
    of_decision = np.repeat(np.arange(len(sizes)), sizes)
    for columns, share, unknown in ((list(GAZETTEER_FEATURES), 0.3, 0.0), ([USUAL_SHARE], 0.5, -1.0)):
        rows[np.ix_((rng.random(len(sizes)) < share)[of_decision], columns)] = unknown


def judged(options: Options, kind: Kind) -> NDArray[np.bool_]:
    return options.dense[:, kind.switch] > 0 if kind.is_switched_only else np.ones(len(options.dense), bool)


class BoostedTrees:
    """Calls the likeliest tool when it is likely enough, with the likeliest candidate of every argument."""

    def __init__(self, knowledge: Knowledge, filler: Judge, gate: Judge, least: float) -> None:
        self._knowledge, self._filler, self._gate, self._least = knowledge, filler, gate, least
        self._memory = Memory(knowledge.gazetteer, knowledge.vocabulary)

    @classmethod
    def fit(cls, traces: Sequence[Trace], *, seed: int) -> "BoostedTrees":
        """Learns from accepted traces. What it knows of values and arguments comes from the other half of them, as with the planner."""
        train = accepted(traces)
        knowledge = Knowledge(gazetteer_of(train), learn_word_weights([words_said(trace) for trace in train]))
        turns = read_with_other_half(train, knowledge.vocabulary)
        rng = np.random.default_rng(seed)
        filled = [[example.options for example in argument_examples(of_trace, rng, bits=BITS)] for of_trace in turns]
        others = [Judge.fit(filled[1 - half :: HALVES], ARGUMENTS, seed) for half in range(HALVES)]
        done = [list(act_decisions(of_trace, others[number % HALVES], knowledge)) for number, of_trace in enumerate(turns)]
        gate, least = Judge.fit(done, CALLS, seed), best_threshold(done, seed)
        return cls(knowledge, Judge.fit(filled, ARGUMENTS, seed), gate, least)

    def act(self, conversation: Conversation) -> Action:
        state = self._memory.state_of(conversation)
        readings = read([state], self._filler)[0]
        options = act_options(state, readings, self._knowledge.word_weights, bits=BITS)
        possible = np.flatnonzero(options.is_possible)
        calls = [place for place in possible.tolist() if options.options[place].kind == "call"]
        if not calls:
            return Action(message=assistant())
        scores = self._gate.scores([act_evidence(options).kept(possible, int(possible[0]))])[0]
        if scores.max() < self._least:
            return Action(message=assistant())
        tool = options.options[calls[int(scores.argmax())]].tool
        return Action(message=assistant("", ToolCall(name=conversation.tools[tool].name, arguments=arguments_of(readings, tool))))


def gazetteer_of(traces: Sequence[Trace]) -> Gazetteer:
    return learn_gazetteer((trace.messages, tools_by_name(trace.tools)) for trace in traces)


def tools_by_name(tools: Sequence[Tool]) -> dict[str, Tool]:
    return {tool.name: tool for tool in tools}


def read_with_other_half(traces: Sequence[Trace], vocabulary: Vocabulary) -> list[list[Turn]]:
    known = [gazetteer_of(traces[half::HALVES]) for half in range(HALVES)]
    return [read_turns(trace, (), known[1 - number % HALVES], vocabulary) for number, trace in enumerate(traces)]


def read(states: Sequence[State], filler: Judge) -> list[Readings]:
    tables = [argument_table(state, bits=BITS) for state in states]
    blocks = [[Options("argument", *table.evidence(block)) for block in range(len(table.layout.blocks))] for table in tables]
    scores = iter(filler.scores([block for of_state in blocks for block in of_state]))
    nothing = np.zeros(0, np.float32)
    return [Readings(table, np.concatenate([nothing, *(next(scores) for _ in own)])) for table, own in zip(tables, blocks, strict=True)]


def act_decisions(turns: Sequence[Turn], filler: Judge, knowledge: Knowledge) -> Iterator[Options]:
    """What was done in these turns, beside everything else that was possible."""
    told = [turn for turn in turns if turn.is_accepted]
    for turn, readings in zip(told, read([turn.state for turn in told], filler), strict=True):
        options = act_options(turn.state, readings, knowledge.word_weights, bits=BITS)
        right = right_act(turn, options)
        if right is not None:
            options.is_possible[right] = True
            yield act_evidence(options).kept(np.flatnonzero(options.is_possible), right)


def best_threshold(of_trace: Decisions, seed: int) -> float:
    """The log-odds from which on to call, where F1 is highest on every fifth trace, with a judge fitted to the others."""
    is_held_out = [number % HELD_OUT_PARTS == 0 for number in range(len(of_trace))]
    judge = Judge.fit([trace for trace, held in zip(of_trace, is_held_out, strict=True) if not held], CALLS, seed)
    decisions = [given for trace, held in zip(of_trace, is_held_out, strict=True) if held for given in trace]
    calls = [np.flatnonzero(judged(given, CALLS)) for given in decisions]
    best = [
        (float(scores.max()), bool(places[scores.argmax()] == given.chosen))
        for given, places, scores in zip(decisions, calls, judge.scores(decisions), strict=True)
        if len(places)
    ]
    recorded = sum(given.chosen in places for given, places in zip(decisions, calls, strict=True))

    def f1(least: float) -> float:
        made = [is_right for score, is_right in best if score >= least]
        return 2 * sum(made) / max(1, len(made) + recorded)

    return max((float(np.log(share / (1 - share))) for share in THRESHOLDS), key=f1)


def arguments_of(readings: Readings, tool: int) -> dict[str, JsonValue]:
    """The likeliest candidates, the surest argument first; what one took no other gets."""
    table, taken = readings.table, set[Key]()
    blocks = np.flatnonzero(table.layout.tool_of == tool)
    given: dict[str, JsonValue] = {}
    for block in blocks[np.argsort(-readings.surest[blocks], kind="stable")].tolist():
        possible = readings.possible(block, taken)
        place = int(possible[int(readings.of_block(block)[possible].argmax())])
        keys = table.keys(block)
        if place < len(keys):
            given[table.slot(block).name] = table.slot(block).typed(table.values(block)[place])
            taken.add(keys[place])
    return given
