"""Measures an environment made from traces, or a declared world, on traces that it was not made from."""

from collections.abc import Sequence
from hashlib import sha256

from agentgym.environments.case import Case
from agentgym.errors import InsufficientData
from agentgym.scenarios.fidelity.answering import Mock, recorded_mock
from agentgym.scenarios.fidelity.bar import FidelityBar, judge
from agentgym.scenarios.fidelity.customers import Played, customer_fidelity, play_departing
from agentgym.scenarios.fidelity.put_calls import PutCalls, put_to_mock, put_to_world
from agentgym.scenarios.fidelity.report import CustomerFidelity, FidelityReport, RankFidelity
from agentgym.scenarios.fidelity.tools import all_tools_fidelity, tool_fidelities
from agentgym.scenarios.fidelity.whole import PaidAgent, environment_for_others, paid_in_other_records, rank_fidelity, replay
from agentgym.scenarios.from_traces import RECORDED, SPARE_TURNS, RecordedScenario
from agentgym.scenarios.pack import ScenarioPack
from agentgym.scenarios.registry import load_world
from agentgym.scenarios.world_scenario import WorldScenario
from agentgym.traces.trace import Trace

# Playing more conversations than this narrows no interval that matters, and takes seconds.
MOST_PLAYED = 300
_ONCE = "No situation was recorded twice: an agent replayed in its own record is paid by its own outcome, which shows nothing."


def measure_fidelity(pack: ScenarioPack, held_out: Sequence[Trace], *, bar: FidelityBar = FidelityBar(), seed: int = 0) -> FidelityReport:  # noqa: B008 - frozen
    """The report on the environment that the pack's cases are played in.

    held_out: the traces behind the pack's held-out cases.   Raises InsufficientData without any.
    """
    if not held_out:
        raise InsufficientData("Fidelity is measured on held-out conversations; there are none. Hold some out.")
    if pack.scenario != RECORDED:
        return measure_world(load_world(pack.scenario), held_out, bar=bar, seed=seed)
    train = [case.recording for case in pack.train if case.recording is not None]
    mock = recorded_mock(train)
    return measure_recorded(pack, mock, held_out, bar=bar, seed=seed)


def measure_recorded(
    pack: ScenarioPack,
    mock: Mock,
    held_out: Sequence[Trace],
    *,
    bar: FidelityBar = FidelityBar(),  # noqa: B008 - frozen
    seed: int = 0,
) -> FidelityReport:
    """The report on a scenario made from recordings, whose tools answer as `mock` does."""
    train = [case.recording for case in pack.train if case.recording is not None]
    cases = [(case.recording, case) for case in _drawn(pack.held_out) if case.recording is not None]
    # The customer is measured, not its patience: in training it may leave at once, which is a choice and no lie.
    patient = RecordedScenario(pack, patience_turns=SPARE_TURNS)
    environment = patient.create_environment()
    own = [Played(trace=trace, case=case, trajectory=replay(environment, case, trace, seed=seed)) for trace, case in cases]
    paid = list(paid_in_other_records(environment_for_others(pack), cases, seed=seed))
    return _report(
        RECORDED,
        put_to_mock(mock, train, held_out),
        [customer_fidelity("recorded", own), customer_fidelity("departing", list(play_departing(patient, cases, seed=seed)))],
        [rank_fidelity(judgement, paid, missing=_ONCE, seed=seed) for judgement in ("outcome", "satisfaction")],
        sizes=(len(train), len(held_out)),
        bar=bar,
    )


def measure_world(
    scenario: WorldScenario,
    held_out: Sequence[Trace],
    *,
    bar: FidelityBar = FidelityBar(),  # noqa: B008 - frozen
    seed: int = 0,
) -> FidelityReport:
    """The report on a declared world. Raises InvalidInput for a conversation that is not of this world."""
    cases = [(trace, scenario.case_from_trace(trace)) for trace in held_out]
    drawn = {case.case_id for case in _drawn([case for _, case in cases])}
    played = [(trace, case) for trace, case in cases if case.case_id in drawn]
    own = [Played(trace=trace, case=case, trajectory=scenario.assess_trace(trace)) for trace, case in played]
    paid = [PaidAgent(trace=each.trace, reward=each.trajectory.reward) for each in own]
    return _report(
        scenario.name,
        put_to_world(scenario, held_out),
        [customer_fidelity("recorded", own), customer_fidelity("departing", list(play_departing(scenario, played, seed=seed)))],
        [rank_fidelity(judgement, paid, missing="Nothing was played.", seed=seed) for judgement in ("outcome", "satisfaction")],
        sizes=(0, len(held_out)),
        bar=bar,
    )


def _report(
    scenario: str,
    put: PutCalls,
    customers: Sequence[CustomerFidelity],
    ranks: Sequence[RankFidelity],
    *,
    sizes: tuple[int, int],
    bar: FidelityBar,
) -> FidelityReport:
    tools, together = tool_fidelities(put), all_tools_fidelity(put)
    return FidelityReport(
        scenario=scenario,
        training_conversations=sizes[0],
        held_out_conversations=sizes[1],
        tools=tools,
        all_tools=together,
        customers=tuple(customers),
        ranks=tuple(ranks),
        checks=judge((*tools, together), customers, ranks, bar),
        bar=bar.model_dump(mode="json"),
    )


def _drawn(cases: Sequence[Case]) -> list[Case]:
    """At most `MOST_PLAYED` of the cases, those whose id has the lowest hash, in their order."""
    kept = sorted(cases, key=lambda case: sha256(case.case_id.encode()).digest())[:MOST_PLAYED]
    ids = {case.case_id for case in kept}
    return [case for case in cases if case.case_id in ids]
