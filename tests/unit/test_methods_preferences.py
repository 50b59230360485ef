"""Pairs of which one is better, and what they teach."""

import math

import numpy as np
import pytest
import torch

from agentgym.environments.case import Case
from agentgym.episode import Action, Decision, Outcome, Trajectory
from agentgym.messages import assistant, user
from agentgym.scenarios.pack import ScenarioPack
from agentgym.traces.trace import Trace
from agentgym.training.flow_grpo.rollouts import Rollout, Sample
from agentgym.training.methods.dpo import Pair, best_against_worst, preference_loss, preference_objective
from agentgym.training.methods.experience import preferences_between
from agentgym.training.methods.rft import flawless


def trace(name: str, *, kind: str | None = "refund", outcome: Outcome | None = None, score: float | None = None) -> Trace:
    tags = {} if kind is None else {"kind": kind}
    return Trace(conversation_id=name, messages=(user("hello"),), outcome=outcome, satisfaction_score=score, tags=tags)


def pairs(*traces: Trace, cases: tuple[Case, ...] = ()) -> list[tuple[str, str]]:
    pack = ScenarioPack(scenario="recorded", tools=(), train=cases, held_out=(), snapshot_digest="0" * 64)
    found = preferences_between(traces, pack, rng=np.random.default_rng(0))
    return [(preference.chosen.conversation_id, preference.rejected.conversation_id) for preference in found]


def test_a_customer_who_was_served_is_preferred_to_one_of_the_same_kind_who_was_not() -> None:
    good, bad = trace("good", outcome=Outcome.ESCALATED), trace("bad", outcome=Outcome.ABANDONED)
    other = trace("other", kind="password", outcome=Outcome.UNRESOLVED)
    assert pairs(good, bad, other) == [("good", "bad")]


def test_scores_tell_where_no_outcome_does() -> None:
    assert pairs(trace("pleased", score=5), trace("cross", score=1), trace("so so", score=3), trace("silent")) == [("pleased", "cross")]


def test_a_known_outcome_counts_more_than_a_score() -> None:
    assert pairs(trace("served", outcome=Outcome.RESOLVED, score=1), trace("lost", outcome=Outcome.UNRESOLVED, score=5)) == [
        ("served", "lost")
    ]


def test_the_kind_of_a_recorded_conversation_is_that_of_its_case() -> None:
    good, bad = trace("good", kind=None, outcome=Outcome.RESOLVED), trace("bad", kind=None, outcome=Outcome.ABANDONED)
    cases = tuple(
        Case(case_id=name, scenario="recorded", kind="hotels", difficulty="easy", cluster_id=name, goal="") for name in ("good", "bad")
    )
    assert pairs(good, bad) == []
    assert pairs(good, bad, cases=cases) == [("good", "bad")]


def test_the_loss_is_that_of_a_coin_before_anything_is_learned() -> None:
    assert preference_loss(torch.zeros(3, 2), beta=0.1).item() == pytest.approx(math.log(2))


def test_the_loss_is_the_mean_of_minus_log_sigmoid_of_the_margin() -> None:
    log_ratios = torch.tensor([[1.0, -1.0], [-0.5, 2.5]])
    margins = [0.3 * 2.0, 0.3 * -3.0]
    expected = sum(math.log(1 + math.exp(-margin)) for margin in margins) / 2
    assert preference_loss(log_ratios, beta=0.3).item() == pytest.approx(expected)


def test_a_gradient_step_raises_the_chosen_and_lowers_the_rejected_by_as_much() -> None:
    log_ratios = torch.zeros(1, 2, requires_grad=True)
    preference_loss(log_ratios, beta=0.2).backward()  # type: ignore[no-untyped-call]
    assert log_ratios.grad is not None
    # Rafailov et al. 2023, gradient below eq. 7: beta times the probability of being wrong, which is a half.
    assert log_ratios.grad.tolist() == [[pytest.approx(-0.1), pytest.approx(0.1)]]


def decisions(count: int) -> tuple[Decision, ...]:
    return tuple(Decision(name="act", choice="inform", log_probability=0.0) for _ in range(count))


def test_a_conversation_counts_by_how_much_more_probable_all_its_decisions_became() -> None:
    pairs = [Pair(chosen=decisions(2), rejected=decisions(1)), Pair(chosen=decisions(1), rejected=decisions(2))]
    reference = torch.tensor([-1.0, -2.0, -0.5, -3.0, -0.1, -0.2])
    measured = preference_objective(0.5)(pairs, lambda: reference)
    assert measured.weight == 2
    assert measured.loss(reference).item() == pytest.approx(math.log(2))
    gained = reference + torch.tensor([0.3, 0.1, -0.2, 0.0, 0.4, 0.2])
    margins = [0.5 * (0.3 + 0.1 + 0.2), 0.5 * (0.0 - 0.4 - 0.2)]
    expected = sum(math.log(1 + math.exp(-margin)) for margin in margins) / 2
    assert measured.loss(gained).item() == pytest.approx(expected, abs=1e-6)


def rollout(group: int, *choices: str, reward: float = 0.0, outcome: Outcome = Outcome.RESOLVED, missing: tuple[str, ...] = ()) -> Rollout:
    decisions = tuple(Decision(name="act", choice=choice, log_probability=-1.0) for choice in choices)
    trajectory = Trajectory(
        case_id=f"case {group}",
        kind="refund",
        cluster_id="CUS-1",
        messages=(),
        actions=(Action(message=assistant("."), decisions=decisions),),
        calls=(),
        missing_calls=missing,
        outcome=outcome,
        satisfaction_score=None,
        agent_tokens=1,
        simulated_seconds=1.0,
        reward_terms={"all": reward},
    )
    return Rollout(trajectory=trajectory, group_id=group, turn_rewards=(reward,), weights_digest="")


def test_the_best_rollout_of_a_case_is_paired_with_its_worst() -> None:
    first = [rollout(0, "a", reward=1), rollout(0, "b", reward=3), rollout(0, "c", reward=-2)]
    undecided = [rollout(1, "d", reward=2), rollout(1, "e", reward=2)]
    made = list(best_against_worst(Sample(rollouts=(*first, *undecided))))
    assert [(pair.chosen[0].choice, pair.rejected[0].choice) for pair in made] == [("b", "c")]


def test_only_rollouts_without_a_fault_are_kept_each_way_once_and_few_of_a_case() -> None:
    played = [
        rollout(0, "a"),
        rollout(0, "a"),
        rollout(0, "b", missing=("refund",)),
        rollout(0, "c", outcome=Outcome.UNRESOLVED),
        rollout(0, "d"),
        rollout(0, "e"),
        rollout(1, "a"),
    ]
    kept = list(flawless(Sample(rollouts=tuple(played)), most_per_case=2))
    assert [one.decisions[0].choice for one in kept] == ["a", "d", "a"]
