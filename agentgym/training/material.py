"""What a run in a declared world learns from and is judged on: conversations of today's agent, and the cases behind them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import count, islice

from agentgym.environments.case import Case
from agentgym.errors import InvalidInput
from agentgym.evaluation.held_out import assess_logs
from agentgym.scenarios.from_traces import RECORDED
from agentgym.scenarios.pack import ScenarioPack
from agentgym.scenarios.production_log import write_logs
from agentgym.scenarios.registry import load_world
from agentgym.scenarios.world_scenario import WorldScenario
from agentgym.traces.snapshot import SplitConfig, held_out_part
from agentgym.traces.trace import Trace
from agentgym.training.config import TrainingConfig
from agentgym.verdicts import EvaluationReport

# Imitation has seen how the logged cases went; most of what is played should be new to the policy.
FRESH_PER_TRACE = 4


@dataclass(frozen=True, kw_only=True)
class TrainingMaterial:
    """world: where it is from.   train: conversations to imitate.   held_out: conversations of other customers.

    pack: the cases behind both, and new ones of the same customers; no customer is on both sides.
    """

    world: WorldScenario
    train: Sequence[Trace]
    held_out: Sequence[Trace]
    pack: ScenarioPack

    @cached_property
    def logs(self) -> EvaluationReport:
        """How today's agent did in the conversations that are held out."""
        return assess_logs(self.held_out, self.world, log_digest=self.pack.snapshot_digest)


def gather_material(config: TrainingConfig) -> TrainingMaterial:
    """Equal scenarios, seeds and counts give equal material; how is learned changes nothing in it."""
    assert config.seed is not None, "a seed is drawn before anything is made from it"
    world = world_of(config)
    traces = list(write_logs(world, world.legacy_agent(), config.conversations, config.seed))
    held_out_customers = held_out_part((trace.cluster_id for trace in traces), SplitConfig())
    train = [trace for trace in traces if trace.cluster_id not in held_out_customers]
    held_out = [trace for trace in traces if trace.cluster_id in held_out_customers]
    pack = world.make_pack(train, held_out, _source_of(config), fresh_per_trace=FRESH_PER_TRACE)
    return TrainingMaterial(world=world, train=train, held_out=held_out, pack=_with_more_held_out(pack, world, config.held_out_cases))


def world_of(config: TrainingConfig) -> WorldScenario:
    """The world that is trained in. Raises InvalidInput for recorded conversations, which have to be given, and ScenarioNotFoundError."""
    if config.scenario == RECORDED:
        raise InvalidInput("A trainer makes its own conversations in a declared world; 'recorded' has none. Use improve with --traces.")
    return load_world(config.scenario)


def _source_of(config: TrainingConfig) -> str:
    """In place of a snapshot's digest: what the conversations follow from."""
    return f"{config.scenario}/{config.conversations}/{config.seed}"


def _with_more_held_out(pack: ScenarioPack, world: WorldScenario, wanted: int) -> ScenarioPack:
    more = islice(_fresh(pack.held_out, world), max(0, wanted - len(pack.held_out)))
    return pack.model_copy(update={"held_out": (*pack.held_out, *more)})


def _fresh(cases: Sequence[Case], world: WorldScenario) -> Iterator[Case]:
    """New cases of the same customers and kinds, round after round."""
    return (world.fresh_case(case, copy) for copy in count(1) for case in cases)
