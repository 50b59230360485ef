import pytest

from agentgym.environments.case import Case
from agentgym.errors import InsufficientData
from agentgym.scenarios.pack import ScenarioPack
from agentgym.statistics import Estimate
from agentgym.traces.snapshot import SplitConfig, held_out_part
from agentgym.training.config import TrainingConfig
from agentgym.training.tuning import Trial, best_of, split_for_tuning, with_values


def pack_of(customers: int) -> ScenarioPack:
    """Three training cases and a held-out one of each of so many customers."""

    def case(name: str, customer: str) -> Case:
        return Case(case_id=name, scenario="toy", kind="toy", difficulty="easy", cluster_id=customer, goal="")

    train = tuple(case(f"{customer}-{number}", f"customer {customer}") for customer in range(customers) for number in range(3))
    held_out = tuple(case(f"held-out {customer}", f"other {customer}") for customer in range(customers))
    return ScenarioPack(scenario="toy", tools=(), train=train, held_out=held_out, snapshot_digest="digest")


def trial(reliability: float | None) -> Trial:
    estimate = None if reliability is None else Estimate(mean=reliability, standard_error=0.1, low=0.0, high=1.0, clusters=9)
    error = None if reliability is not None else "it collapsed."
    return Trial(learning_rate=0.01, group_size=8, rank=None, tool_reliability=estimate, success_rate=estimate, seconds=1.0, error=error)


def test_trials_are_judged_on_training_cases_of_customers_they_never_met_and_never_on_held_out_ones():
    pack = pack_of(50)
    learning, validation = split_for_tuning(pack, validation_cases=1000)
    learned, judged = ({case.cluster_id for case in part.train} for part in (learning, validation))
    assert not learned & judged
    assert {case.case_id for part in (learning, validation) for case in part.train} == {case.case_id for case in pack.train}
    assert (learning.held_out, validation.held_out) == ((), ())


def test_as_many_customers_are_set_apart_when_the_same_seed_held_others_out_before():
    """A second split by the same hash found no customer but the one it must: those who are left had all fallen on the other side."""
    pack = pack_of(100)
    gone = held_out_part((case.cluster_id for case in pack.train), SplitConfig(seed=4))
    left = pack.model_copy(update={"train": tuple(case for case in pack.train if case.cluster_id not in gone)})
    _, validation = split_for_tuning(left, validation_cases=1000)
    assert len({case.cluster_id for case in validation.train}) > 8


def test_no_more_cases_are_judged_than_allowed_and_they_are_of_many_customers():
    _, validation = split_for_tuning(pack_of(200), validation_cases=20)
    assert len(validation.train) <= 20
    assert len({case.cluster_id for case in validation.train}) >= 10


def test_a_search_needs_two_customers_to_judge_by():
    with pytest.raises(InsufficientData, match="at least two customers; of 6 training cases 1"):
        split_for_tuning(pack_of(2), validation_cases=10)


def test_a_larger_group_leaves_the_rollouts_of_an_iteration_as_many():
    config = TrainingConfig(batch_size=32)
    tried = with_values(config, 0.02, 64, episodes=999)
    assert (tried.learning_rate, tried.flow_grpo.group_size, tried.batch_size, tried.episodes) == (0.02, 64, 8, 999)
    assert with_values(config, 0.02, 64).episodes == config.episodes


def test_the_best_trial_is_the_most_reliable_of_those_that_ended():
    trials = [trial(0.4), trial(None), trial(0.8), trial(0.6)]
    assert best_of(trials) is trials[2]


def test_a_search_in_which_all_broke_off_says_what_the_first_said():
    with pytest.raises(InsufficientData, match="all 2 broke off, the first with: it collapsed"):
        best_of([trial(None), trial(None)])
