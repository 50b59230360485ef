"""Reports on played cases of the built-in world."""

import pytest

from agentgym.environments.case import Case
from agentgym.environments.play import play_episode
from agentgym.episode import Action, Conversation, Policy
from agentgym.errors import InsufficientData, InvalidInput
from agentgym.evaluation.evaluate import PlayedCase, case_set_digest, evaluate_policy, report_played
from agentgym.reward import RewardWeights
from agentgym.scenarios.customer_support import CustomerSupport
from agentgym.verdicts import EvaluationReport, Subject

SUBJECT = Subject(name="somebody", checkpoint_digest="d")


@pytest.fixture(scope="module")
def world() -> CustomerSupport:
    return CustomerSupport()


@pytest.fixture(scope="module")
def cases(world: CustomerSupport) -> list[Case]:
    return list(world.generate_cases(24, seed=5))


class Crashing:
    """Acts like `policy`, but for some cases, where it raises `error`."""

    def __init__(self, policy: Policy, on: set[str], error: Exception) -> None:
        self.policy, self.on, self.error = policy, on, error

    def act(self, conversation: Conversation) -> Action:
        if conversation.conversation_id.partition("#")[0] in self.on:
            raise self.error
        return self.policy.act(conversation)


def test_the_expert_is_reported_as_flawless_with_savings_against_the_ticket(world: CustomerSupport, cases: list[Case]) -> None:
    report = evaluate_policy(world.expert(), world, cases, subject=SUBJECT, seed=1)
    assert report.estimates["tool_reliability"].mean == report.estimates["success_rate"].mean == 1.0
    tokens = report.estimates["agent_tokens"].mean
    assert report.estimates["cost_reduction"].mean == pytest.approx(1 - tokens / world.world.reward.baseline_tokens)
    assert report.slices.keys() == {case.kind for case in cases}


def test_equal_seeds_give_equal_reports(world: CustomerSupport, cases: list[Case]) -> None:
    first, second = (evaluate_policy(world.legacy_agent(), world, cases, subject=SUBJECT, seed=1) for _ in range(2))
    assert first == second


def test_a_case_plays_the_same_in_a_subset(world: CustomerSupport, cases: list[Case]) -> None:
    whole = evaluate_policy(world.legacy_agent(), world, cases, subject=SUBJECT, seed=1)
    again = list(world.generate_cases(24, seed=5))
    part = evaluate_policy(world.legacy_agent(), world, again[::-2], subject=SUBJECT, seed=1)
    assert set(map(str, part.rows)) <= set(map(str, whole.rows))


def test_a_case_given_twice_counts_once(world: CustomerSupport, cases: list[Case]) -> None:
    once = evaluate_policy(world.expert(), world, cases, subject=SUBJECT, seed=1)
    twice = evaluate_policy(world.expert(), world, [*cases, *cases[:5]], subject=SUBJECT, seed=1)
    assert once == twice


def test_a_report_survives_its_json(world: CustomerSupport, cases: list[Case]) -> None:
    report = evaluate_policy(world.legacy_agent(), world, cases, subject=SUBJECT, seed=1)
    again = EvaluationReport.model_validate_json(report.model_dump_json())
    assert (again, again.digest) == (report, report.digest)


def test_several_trials_give_the_chance_that_all_succeed(world: CustomerSupport, cases: list[Case]) -> None:
    report = evaluate_policy(world.legacy_agent(), world, cases, subject=SUBJECT, seed=1, trials=3)
    successes = [[row.measures["success_rate"].numerator == 1 for row in report.rows if row.case_id == case.case_id] for case in cases]
    assert report.estimates["pass^3"].mean == pytest.approx(sum(map(all, successes)) / len(cases))
    assert report.estimates["pass^3"].mean <= report.estimates["pass^2"].mean <= report.estimates["success_rate"].mean


def test_every_trial_is_dealt_other_chances(world: CustomerSupport, cases: list[Case]) -> None:
    report = evaluate_policy(world.legacy_agent(), world, cases, subject=SUBJECT, seed=1, trials=2)
    seconds = {(row.case_id, row.trial): row.measures["simulated_seconds"].numerator for row in report.rows}
    assert all(seconds[case.case_id, 0] != seconds[case.case_id, 1] for case in cases)


def test_a_crash_is_a_failure_and_no_score(world: CustomerSupport, cases: list[Case]) -> None:
    policy = Crashing(world.expert(), {cases[3].case_id}, ZeroDivisionError("by zero"))
    report = evaluate_policy(policy, world, cases, subject=SUBJECT, seed=1)
    assert [(failure.case_id, failure.error) for failure in report.failures] == [(cases[3].case_id, "ZeroDivisionError: by zero")]
    assert report.estimates["success_rate"].mean == 1.0
    assert report.failure_share == 1 / 24


def test_bad_input_is_no_crash_of_the_policy(world: CustomerSupport, cases: list[Case]) -> None:
    policy = Crashing(world.expert(), {cases[3].case_id}, InvalidInput("The adapter is for another model."))
    with pytest.raises(InvalidInput, match="another model"):
        evaluate_policy(policy, world, cases, subject=SUBJECT, seed=1)


def test_when_everything_crashes_there_is_no_report(world: CustomerSupport, cases: list[Case]) -> None:
    policy = Crashing(world.expert(), {case.case_id for case in cases}, ZeroDivisionError("by zero"))
    with pytest.raises(InsufficientData, match=r"24 that crashed\. The first failure: ZeroDivisionError"):
        evaluate_policy(policy, world, cases, subject=SUBJECT, seed=1)


def test_no_cases_give_no_report(world: CustomerSupport) -> None:
    with pytest.raises(InsufficientData, match="got 0"):
        evaluate_policy(world.expert(), world, [], subject=SUBJECT, seed=1)


def test_a_case_set_is_known_by_its_content_whatever_its_order(cases: list[Case]) -> None:
    assert case_set_digest(cases) == case_set_digest(cases[::-1])
    assert case_set_digest(cases) != case_set_digest(cases[1:])


def test_progress_is_told_for_every_episode(world: CustomerSupport, cases: list[Case]) -> None:
    told: list[tuple[int, int]] = []
    evaluate_policy(
        world.expert(), world, cases[:4], subject=SUBJECT, seed=1, trials=2, on_progress=lambda done, due: told.append((done, due))
    )
    assert told == [(number, 8) for number in range(1, 9)]


def test_the_logs_are_measured_like_a_policy(world: CustomerSupport, cases: list[Case]) -> None:
    environment = world.create_environment()
    played = [PlayedCase(trajectory=play_episode(environment, world.legacy_agent(), case, seed=1)) for case in cases]
    report = report_played(played, subject=SUBJECT, scenario=world.name, case_set=case_set_digest(cases), seed=1, baseline=RewardWeights())
    assert report.estimates.keys() == evaluate_policy(world.expert(), world, cases, subject=SUBJECT, seed=1).estimates.keys()
