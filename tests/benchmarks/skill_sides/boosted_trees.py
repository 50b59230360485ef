"""Gradient-boosted trees in place of the planner's networks: the strongest classical side of `skill.py`.

They see what the planner sees of candidates, arguments and tools, but no words: one ensemble judges every candidate of an argument, a
second every tool, given how sure the first one is of its arguments. They cannot learn on-policy.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue
from sklearn.ensemble import HistGradientBoostingClassifier

from agentgym.episode import Action, Conversation
from agentgym.messages import ToolCall, assistant
from agentgym.policies.planner.acts import ACT_FEATURES, ActOptions, act_options
from agentgym.policies.planner.arguments import ARGUMENT_FEATURES, Rows, argument_table
from agentgym.policies.planner.examples import Turn, argument_examples, read_turns
from agentgym.policies.planner.gazetteer import Gazetteer, learn_gazetteer
from agentgym.policies.planner.memory import Memory
from agentgym.policies.planner.readings import Readings
from agentgym.policies.planner.state import Key, State
from agentgym.policies.planner.word_weights import WordWeights, learn_word_weights
from agentgym.tools import Tool
from agentgym.traces.trace import Trace
from agentgym.training.warm_start import accepted, words_said

# Nothing here reads hashed words; the smallest table makes them cheap.
BITS = 8
HELD_OUT_PARTS = 5
THRESHOLDS = np.round(np.arange(0.2, 0.71, 0.05), 2)


@dataclass(frozen=True)
class Gate:
    """How likely each tool is called now, and from which chance on it is."""

    trees: HistGradientBoostingClassifier
    threshold: float


class BoostedTrees:
    """Calls the likeliest tool when it is likely enough, with the likeliest candidate of every argument."""

    def __init__(self, gazetteer: Gazetteer, weights: WordWeights, filler: HistGradientBoostingClassifier, gate: Gate) -> None:
        self._weights, self._filler, self._gate = weights, filler, gate
        self._memory = Memory(gazetteer)

    @classmethod
    def fit(cls, traces: Sequence[Trace], *, seed: int) -> "BoostedTrees":
        """Learns from accepted traces. What it knows of values and arguments comes from the other half of them, as with the planner."""
        train = accepted(traces)
        weights = learn_word_weights([words_said(trace) for trace in train])
        known = [gazetteer_of(train[half::2]) for half in (0, 1)]
        turns = [read_turns(trace, (), known[1 - number % 2]) for number, trace in enumerate(train)]
        filled = [filler_rows(turns_of_trace, seed) for turns_of_trace in turns]
        others = [boosted(filled[1 - half :: 2], seed) for half in (0, 1)]
        gate_rows = [call_rows(turns_of_trace, others[number % 2], weights) for number, turns_of_trace in enumerate(turns)]
        gate = Gate(boosted([(rows, right) for rows, right, _ in gate_rows], seed), best_threshold(gate_rows, seed))
        return cls(gazetteer_of(train), weights, boosted(filled, seed), gate)

    def act(self, conversation: Conversation) -> Action:
        state = self._memory.state_of(conversation)
        readings = read([state], self._filler)[0]
        options = act_options(state, readings, self._weights, bits=BITS)
        calls = call_places(options)
        if not len(calls):
            return Action(message=assistant())
        chances = self._gate.trees.predict_proba(options.dense[calls])[:, 1]
        if chances.max() < self._gate.threshold:
            return Action(message=assistant())
        tool = options.options[calls[int(chances.argmax())]].tool
        return Action(message=assistant("", ToolCall(name=conversation.tools[tool].name, arguments=arguments_of(readings, tool))))


def gazetteer_of(traces: Sequence[Trace]) -> Gazetteer:
    return learn_gazetteer((trace.messages, tools_by_name(trace.tools)) for trace in traces)


def tools_by_name(tools: Sequence[Tool]) -> dict[str, Tool]:
    return {tool.name: tool for tool in tools}


def boosted(rows: Sequence[tuple[Rows, NDArray[np.bool_]]], seed: int) -> HistGradientBoostingClassifier:
    trees = HistGradientBoostingClassifier(max_iter=200, learning_rate=0.1, max_leaf_nodes=31, min_samples_leaf=20, random_state=seed)
    return trees.fit(np.concatenate([features for features, _ in rows]), np.concatenate([right for _, right in rows]))


def filler_rows(turns: Sequence[Turn], seed: int) -> tuple[Rows, NDArray[np.bool_]]:
    """The options of every argument, and which were taken."""
    options = [example.options for example in argument_examples(turns, np.random.default_rng(seed), bits=BITS)]
    taken = [np.arange(len(given.dense)) == given.chosen for given in options]
    nothing = np.zeros((0, ARGUMENT_FEATURES), np.float32)
    return np.concatenate([nothing, *(given.dense for given in options)]), np.concatenate([np.zeros(0, bool), *taken])


def read(states: Sequence[State], filler: HistGradientBoostingClassifier) -> list[Readings]:
    tables = [argument_table(state, bits=BITS) for state in states]
    rows = np.concatenate([np.zeros((0, ARGUMENT_FEATURES), np.float32), *(table.dense for table in tables)])
    scores = filler.decision_function(rows).astype(np.float32) if len(rows) else np.zeros(0, np.float32)
    parts = np.split(scores, np.cumsum([len(table.dense) for table in tables])[:-1])
    return list(map(Readings, tables, parts))


def call_places(options: ActOptions) -> list[int]:
    return [place for place, option in enumerate(options.options) if option.kind == "call" and options.is_possible[place]]


def call_rows(
    turns: Sequence[Turn], filler: HistGradientBoostingClassifier, weights: WordWeights
) -> tuple[Rows, NDArray[np.bool_], list[int]]:
    """The calls that were possible in these turns, which of them were made, and how many there are in each turn."""
    told = [turn for turn in turns if turn.is_accepted]
    rows, made, counts = [np.zeros((0, ACT_FEATURES), np.float32)], list[bool](), list[int]()
    for turn, readings in zip(told, read([turn.state for turn in told], filler), strict=True):
        options = act_options(turn.state, readings, weights, bits=BITS)
        places = call_places(options)
        names = [turn.state.scene.tools[options.options[place].tool].name for place in places]
        rows.append(options.dense[places])
        made += [turn.call is not None and turn.call.name == name for name in names]
        counts.append(len(places))
    return np.concatenate(rows), np.array(made, bool), counts


def best_threshold(rows: Sequence[tuple[Rows, NDArray[np.bool_], list[int]]], seed: int) -> float:
    """Where F1 is highest on every fifth trace, with trees fitted to the others."""
    is_held_out = np.arange(len(rows)) % HELD_OUT_PARTS == 0
    trees = boosted([(each[0], each[1]) for each, held in zip(rows, is_held_out, strict=True) if not held], seed)
    best = [likeliest for each, held in zip(rows, is_held_out, strict=True) if held for likeliest in likeliest_calls(trees, *each)]
    recorded = sum(int(each[1].sum()) for each, held in zip(rows, is_held_out, strict=True) if held)

    def f1(threshold: float) -> float:
        made = [is_right for chance, is_right in best if chance >= threshold]
        return 2 * sum(made) / max(1, len(made) + recorded)

    return float(max(THRESHOLDS, key=f1))


def likeliest_calls(
    trees: HistGradientBoostingClassifier, rows: Rows, made: NDArray[np.bool_], counts: Sequence[int]
) -> Iterator[tuple[float, bool]]:
    """Of each turn the chance of its likeliest call, and whether that one was made."""
    chances = trees.predict_proba(rows)[:, 1]
    ends = np.cumsum(counts)
    for start, end in zip(ends - counts, ends, strict=True):
        if end > start:
            place = start + int(chances[start:end].argmax())
            yield float(chances[place]), bool(made[place])


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
