from typing import ClassVar

import pytest

from agentgym.evaluation.evaluate import evaluate_policy
from agentgym.reward import RewardWeights
from agentgym.training.config import TrainingConfig
from agentgym.training.judging import judge_policy
from agentgym.training.material import gather_material
from agentgym.verdicts import Subject

SUBJECT = Subject(name="after", checkpoint_digest="a")


@pytest.fixture(scope="module")
def material():
    return gather_material(TrainingConfig(conversations=60, held_out_cases=30, seed=5))


def customers(cases):
    return {case.cluster_id for case in cases}


def test_no_customer_is_learned_from_and_judged_on(material):
    pack = material.pack
    learned_from = customers(pack.train) | {trace.cluster_id for trace in material.train}
    assert not learned_from & (customers(pack.held_out) | {trace.cluster_id for trace in material.held_out})


def test_there_are_as_many_held_out_cases_as_asked_for_and_none_twice(material):
    ids = [case.case_id for case in material.pack.held_out]
    assert len(ids) == len(set(ids)) == 30


def test_most_of_what_is_played_is_new_to_a_policy_that_imitated(material):
    assert len(material.pack.train) == 5 * len(material.train)


def test_equal_seeds_give_equal_material_whatever_the_method(material):
    again = gather_material(TrainingConfig(conversations=60, held_out_cases=30, seed=5, method="sft", learning_rate=0.5))
    assert again.pack.digest == material.pack.digest
    assert gather_material(TrainingConfig(conversations=60, held_out_cases=30, seed=6)).pack.digest != material.pack.digest


def test_the_logs_are_judged_on_the_customers_held_out(material):
    assert {row.cluster_id for row in material.logs.rows} == {trace.cluster_id for trace in material.held_out}


def test_the_logs_save_against_the_ticket_of_their_own_scenario():
    lookup = gather_material(TrainingConfig(scenario="lookup", conversations=60, held_out_cases=2, seed=5))
    ticket = lookup.world.create_environment().reward_weights
    assert ticket.baseline_tokens != RewardWeights().baseline_tokens
    estimates = lookup.logs.estimates
    assert estimates["cost_reduction"].mean == pytest.approx(1 - estimates["agent_tokens"].mean / ticket.baseline_tokens)


class SideBySide:
    """Today's agent, asked about many conversations at once."""

    identity: ClassVar = {}

    def __init__(self, world):
        self.agent = world.legacy_agent()

    def act_batch(self, conversations, *, rng):
        return [self.agent.act(conversation) for conversation in conversations]


def test_side_by_side_a_policy_is_judged_as_it_is_alone(material):
    world, cases, told = material.world, material.pack.held_out, []
    judged = judge_policy(SideBySide(world), world, cases, subject=SUBJECT, seed=3, on_progress=lambda *counts: told.append(counts))
    assert judged.report == evaluate_policy(world.legacy_agent(), world, cases, subject=SUBJECT, seed=3)
    assert len(judged.trajectories) == 30
    assert told == [(30, 30)]
