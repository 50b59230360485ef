"""Makes edge cases for a pack: of every kind as many as asked, from its held-out cases, each proven by playing its right solution."""

import hashlib
from collections.abc import Callable, Sequence

import numpy as np

from agentgym.environments.case import Case
from agentgym.environments.edge import EDGE_KINDS, EdgeKind
from agentgym.episode import Outcome
from agentgym.scenarios.edge_cases.made import EdgeCases
from agentgym.scenarios.edge_cases.of_recording import Source, Translate, make_of_recording, source_of
from agentgym.scenarios.edge_cases.of_world import make_of_world
from agentgym.scenarios.from_traces import RECORDED, RecordedScenario, scenario_of
from agentgym.scenarios.pack import ScenarioPack
from agentgym.scenarios.scenario import Scenario
from agentgym.scenarios.world_scenario import WorldScenario

# Ten kinds of so many cost a version half a minute of play at most, and tell a kind it cannot do from one it can.
EDGE_CASES_PER_KIND = 6
# A kind that this many cases in a row cannot be made into is not there.
_MOST_TRIES = 60
_NO_MODEL = "No model that translates is at hand."
_NOBODY_LISTENS = "The customer of this world leaves after the agent's first words, so nothing can be asked."

Make = Callable[[EdgeKind, Case, np.random.Generator], Case | None]


def with_edge_cases(pack: ScenarioPack, *, per_kind: int = EDGE_CASES_PER_KIND, seed: int = 0) -> ScenarioPack:
    """The pack with edge cases of customers it is not trained on."""
    return pack.model_copy(update={"edge": make_edge_cases(pack, per_kind=per_kind, seed=seed).cases})


def make_edge_cases(
    pack: ScenarioPack, *, per_kind: int = EDGE_CASES_PER_KIND, seed: int = 0, translate: Translate | None = None
) -> EdgeCases:
    """Up to `per_kind` cases of each kind from the held-out cases of the pack, or the training ones where none is held out.

    translate: what the customer says into another language; without it there are no cases in other languages.
    Equal packs, counts and seeds give equal cases. A case whose right solution is not judged right when it is played is left out.
    """
    bases = [case for case in pack.held_out or pack.train if _went_well(case)]
    scenario = scenario_of(pack)
    if isinstance(scenario, WorldScenario):
        return _made(bases, lambda kind, case, rng: make_of_world(scenario, kind, case, rng, bases), per_kind, seed, _why_not(scenario))
    recordings = [case.recording for case in (*pack.train, *pack.held_out) if case.recording]
    source = source_of(recordings, pack.tools, translate=translate)
    return _made(bases, lambda kind, case, rng: _proven(source, scenario, kind, case, rng), per_kind, seed, _why_not(scenario))


def _made(bases: Sequence[Case], make: Make, per_kind: int, seed: int, reasons: dict[EdgeKind, str]) -> EdgeCases:
    cases: list[Case] = []
    tried: dict[EdgeKind, int] = {}
    for kind in EDGE_KINDS:
        tried[kind], made = 0, 0
        for case in _shuffled(bases, seed, kind):
            if made == per_kind or (not made and tried[kind] >= _MOST_TRIES):
                break
            tried[kind] += 1
            if new := make(kind, case, np.random.default_rng([seed, case.seed, _number(kind)])):
                cases.append(new)
                made += 1
    return EdgeCases.of(cases, tried, reasons)


def _proven(source: Source, scenario: Scenario, kind: EdgeKind, case: Case, rng: np.random.Generator) -> Case | None:
    """The rewritten recording, where the agent in it is right in everything it does."""
    assert case.recording is not None  # only recorded cases are in a recorded pack
    made = make_of_recording(source, kind, case.recording, rng)
    return made if made is not None and _replays_rightly(scenario, made) else None


def _replays_rightly(scenario: Scenario, case: Case) -> bool:
    assert case.recording is not None
    environment = RecordedScenario(ScenarioPack(scenario=RECORDED, tools=scenario.tools, train=(), held_out=(case,), snapshot_digest=""))
    played = environment.create_environment()
    played.reset(seed=0, options={"case": case})
    for message in case.recording.messages:
        if message.role == "assistant":
            _, _, is_terminated, is_truncated, _ = played.step(message)
            if is_terminated or is_truncated:
                break
    trajectory = played.trajectory(())
    return trajectory.is_success and all(judged.is_correct for judged in trajectory.calls)


def _went_well(case: Case) -> bool:
    """Whether what is right is known: of a world always, of a recording where its customer was served."""
    return case.recording is None or case.recording.outcome not in (Outcome.UNRESOLVED, Outcome.ABANDONED)


def _why_not(scenario: Scenario) -> dict[EdgeKind, str]:
    reasons: dict[EdgeKind, str] = {"other_language": _NO_MODEL}
    if isinstance(scenario, WorldScenario) and scenario.world.closed == "True":
        reasons |= {"missing_fact": _NOBODY_LISTENS, "contradictory_facts": _NOBODY_LISTENS}
    return reasons


def _shuffled(cases: Sequence[Case], seed: int, kind: EdgeKind) -> list[Case]:
    """In an order that follows from the cases' names, so that a case more does not change who comes first of the others."""
    return sorted(cases, key=lambda case: hashlib.sha256(f"{seed}/{kind}/{case.case_id}".encode()).digest())


def _number(kind: EdgeKind) -> int:
    return EDGE_KINDS.index(kind)
