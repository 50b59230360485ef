"""The warm start: imitation of the assistant turns that customers accepted.

The planner learns first what each argument was, then when to ask, to call and to inform, given how sure it is of the arguments. Everything
that could give an answer away comes from other conversations: known values from the other half of them, what words say from the other
two thirds.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from agentgym.episode import Outcome
from agentgym.errors import InsufficientData
from agentgym.garbage import rarely_collecting
from agentgym.policies.planner.act_words import NAME_VOICES
from agentgym.policies.planner.acts import act_options
from agentgym.policies.planner.arguments import GAZETTEER_FEATURES, USUAL_SHARE
from agentgym.policies.planner.batch import Options
from agentgym.policies.planner.calibration import call_readiness, omission_readiness
from agentgym.policies.planner.examples import Turn, argument_examples, read_turns, right_act
from agentgym.policies.planner.fitting import FOLDS, Examples, FitSettings, HeadState, fit_head
from agentgym.policies.planner.gazetteer import Gazetteer, learn_gazetteer
from agentgym.policies.planner.network import PlannerNetwork
from agentgym.policies.planner.planner import Knowledge, Planner, PlannerConfig, act_evidence
from agentgym.policies.planner.vocabulary import Vocabulary
from agentgym.policies.planner.word_weights import learn_word_weights
from agentgym.policies.planner.words import words_of
from agentgym.tools import Tool
from agentgym.traces.trace import Trace

ARGUMENT_FIT = FitSettings(
    table_epochs=3,
    table_steps=400,
    table_rate=0.1,
    layer_epochs=8,
    layer_steps=600,
    layer_rate=2e-3,
    weight_decay=1e-2,
    dropout=0.0,
    rest_weight=1.0,
    calibrate=omission_readiness,
)
ACT_FIT = FitSettings(
    table_epochs=3,
    table_steps=400,
    table_rate=0.1,
    layer_epochs=10,
    layer_steps=600,
    layer_rate=2e-3,
    weight_decay=2e-2,
    dropout=0.1,
    rest_weight=0.05,
    calibrate=call_readiness,
)
Progress = Callable[[str, float], None]
"""Told the name of the stage and the share of it that is done."""


class ImitationConfig(BaseModel):
    """One imitation."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    planner: PlannerConfig = PlannerConfig()


def imitate(
    traces: Sequence[Trace],
    *,
    tools: Sequence[Tool] = (),
    seed: int,
    config: ImitationConfig | None = None,
    on_progress: Progress = lambda stage, share: None,
) -> Planner:
    """A planner that does what the assistant did in these traces.

    tools: in scope where a trace names none. Traces that are known to have failed are left out, unless no outcome is known at all.
    Raises InsufficientData when no accepted turn calls a tool.
    """
    config = config or ImitationConfig()
    return _Imitation(accepted(traces), tools, seed, config, on_progress).planner()


def accepted(traces: Sequence[Trace]) -> list[Trace]:
    """The traces whose customer was served, or of which nobody knows."""
    return [trace for trace in traces if trace.outcome not in (Outcome.UNRESOLVED, Outcome.ABANDONED)]


class _Imitation:
    def __init__(self, traces: Sequence[Trace], tools: Sequence[Tool], seed: int, config: ImitationConfig, on_progress: Progress) -> None:
        self.traces, self.tools, self.seed, self.config, self.on_progress = traces, tuple(tools), seed, config, on_progress
        self.bits = config.planner.table_bits
        self.parts = _parts(traces, seed)
        if not any(message.tool_calls for trace in traces for message in trace.messages):
            raise InsufficientData(
                f"Imitation needs at least one accepted call of a tool; got none in {len(traces)} accepted traces. Bring traces with calls."
            )

    @rarely_collecting()
    def planner(self) -> Planner:
        torch.manual_seed(self.seed)
        network = PlannerNetwork(bits=self.bits, hidden=self.config.planner.hidden, members=self.config.planner.members)
        knowledge = Knowledge(self._gazetteer(self.traces), learn_word_weights([words_said(trace) for trace in self.traces]))
        planner = Planner(network, knowledge, self.config.planner)
        turns = self._turns(knowledge.vocabulary)
        arguments = self._fit_arguments(network, turns)
        self._fit_acts(planner, turns, arguments)
        return planner

    def _gazetteer(self, traces: Sequence[Trace]) -> Gazetteer:
        return learn_gazetteer((trace.messages, {tool.name: tool for tool in trace.tools or self.tools}) for trace in traces)

    def _turns(self, vocabulary: Vocabulary) -> list[list[Turn]]:
        """The turns of each trace, read with the values known from the other half of the traces."""
        other_half = [
            self._gazetteer([trace for trace, part in zip(self.traces, self.parts, strict=True) if part % 2 != half]) for half in (0, 1)
        ]
        turns = []
        for number, (trace, part) in enumerate(zip(self.traces, self.parts, strict=True)):
            turns.append(read_turns(trace, self.tools, other_half[part % 2], vocabulary))
            if number % 50 == 0:
                self.on_progress("reading", number / len(self.traces))
        return turns

    def _fit_arguments(self, network: PlannerNetwork, turns: Sequence[Sequence[Turn]]) -> tuple[HeadState, ...]:
        """Fits the argument head; gives those of the folds."""
        rng = np.random.default_rng(self.seed)
        of_trace = [list(argument_examples(turns_of_trace, rng, bits=self.bits)) for turns_of_trace in turns]
        examples = self._examples([[example.options for example in given] for given in of_trace])
        # Whether an optional argument is given is a question of the call, not of the turns before it.
        is_due = np.array([example.is_due for given in of_trace for example in given])
        examples = replace(examples, is_measured=is_due)
        blank, stage = _without_gazetteer, self._stage("arguments")
        return fit_head(network.argument, examples, ARGUMENT_FIT, seed=self.seed, on_progress=stage, blank=blank)

    def _fit_acts(self, planner: Planner, turns: Sequence[Sequence[Turn]], of_folds: Sequence[HeadState]) -> None:
        """Fits the act head to turns whose arguments are weighed as if their conversation were new."""
        head, weighed = planner.network.argument, 0
        final = {name: values.clone() for name, values in head.state_dict().items()}
        of_trace: list[list[Options]] = [[] for _ in turns]
        for fold, state in enumerate(of_folds):
            head.load_state_dict(state)
            for number in [number for number, part in enumerate(self.parts) if part % FOLDS == fold]:
                of_trace[number] = list(_act_examples(planner, turns[number]))
                weighed += 1
                self.on_progress("weighing", weighed / len(turns))
        head.load_state_dict(final)
        blank, stage = _without_names, self._stage("acts")
        fit_head(planner.network.act, self._examples(of_trace), ACT_FIT, seed=self.seed, on_progress=stage, blank=blank)

    def _examples(self, of_trace: Sequence[Sequence[Options]]) -> Examples:
        part = np.repeat(self.parts, [len(options) for options in of_trace])
        options = [options for given in of_trace for options in given]
        return Examples(options, part % FOLDS, is_measured=np.ones(len(options), bool))

    def _stage(self, name: str) -> Callable[[float], None]:
        return lambda share: self.on_progress(name, share)


def _act_examples(planner: Planner, turns: Sequence[Turn]) -> Iterator[Options]:
    turns = [turn for turn in turns if turn.is_accepted]
    readings = planner.read_arguments([turn.state for turn in turns])
    for turn, reading in zip(turns, readings, strict=True):
        acts = act_options(turn.state, reading, planner.knowledge.word_weights, bits=planner.config.table_bits)
        right = right_act(turn, acts)
        if right is not None:
            acts.is_possible[right] = True
            yield act_evidence(acts).kept(np.flatnonzero(acts.is_possible), right)


def _parts(traces: Sequence[Trace], seed: int) -> list[int]:
    """For each trace a number; traces of one customer share it."""
    clusters = list(dict.fromkeys(trace.cluster_id for trace in traces))
    numbers = np.random.default_rng(seed).permutation(len(clusters))
    part = dict(zip(clusters, numbers.tolist(), strict=True))
    return [part[trace.cluster_id] for trace in traces]


def words_said(trace: Trace) -> list[str]:
    """Every word of a conversation, whoever said it."""
    return [word for message in trace.messages for word in words_of(message.content)]


def _without_gazetteer(dense: Tensor, words: Tensor, segments: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Blanks what the gazetteer says in a third of the decisions, and how usual an argument is in half of them."""
    dense = dense.clone()
    dense[:, list(GAZETTEER_FEATURES)] *= (~_some(0.3, segments, generator))[:, None]
    dense[_some(0.5, segments, generator), USUAL_SHARE] = -1
    return dense, words


def _without_names(dense: Tensor, words: Tensor, segments: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Blanks what the tables say of the names of tools in a quarter of the decisions: of a new tool they say nothing."""
    words = words.clone()
    words[_some(0.25, segments, generator), NAME_VOICES] = 0
    return dense, words


def _some(share: float, segments: Tensor, generator: torch.Generator) -> Tensor:
    """Whether an option belongs to one of the decisions drawn, shape of `segments` (O,)."""
    return (torch.rand(int(segments[-1]) + 1, generator=generator) < share)[segments]
