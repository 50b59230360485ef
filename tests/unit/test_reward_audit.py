"""The audit of rewards: sound ones pass, and one that is broken for the sake of an adversary is refused by that adversary's name."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from agentgym.environments.case import Case
from agentgym.environments.conversation import ConversationEnv
from agentgym.environments.user_simulator import ScriptedCustomer
from agentgym.environments.world import WorldTools
from agentgym.episode import Action, Policy, Trajectory
from agentgym.errors import InsufficientData, Refused
from agentgym.evaluation.adversaries import make_adversaries
from agentgym.evaluation.audit import AuditCriteria, audit_reward, require_sound_reward
from agentgym.messages import Message
from agentgym.reward import BY_EQUAL_WORDS, ConductRule, RewardWeights
from agentgym.scenarios import ScenarioRegistry
from agentgym.scenarios.customer_support import CustomerSupport
from agentgym.scenarios.registry import load_world
from agentgym.verdicts import RewardAudit

SUPPORT = CustomerSupport()
CASES = list(SUPPORT.generate_cases(60, seed=1))
FEW = AuditCriteria(cases=40)
Pay = Callable[[Trajectory], float]


class Mispaid(ConversationEnv):
    """Pays one more term."""

    pay: Pay

    def trajectory(self, actions: Sequence[Action]) -> Trajectory:
        trajectory = super().trajectory(actions)
        return replace(trajectory, reward_terms={**trajectory.reward_terms, "mistake": self.pay(trajectory)})


class MispaidSupport(CustomerSupport):
    """The help desk under a reward with a mistake in it."""

    def __init__(self, pay: Pay) -> None:
        super().__init__()
        self._pay = pay

    def create_environment(self, *, reward: RewardWeights | None = None) -> ConversationEnv:
        environment = Mispaid(
            WorldTools(self.world),
            ScriptedCustomer(self.world),
            tools=self.tools,
            draw_case=self.draw_case,
            reward=reward or self.world.reward,
            clock=self.world.clock,
            max_turns=self.world.max_turns,
        )
        environment.pay = self._pay
        return environment


def replies(trajectory: Trajectory) -> list[Message]:
    return [message for message in trajectory.messages if message.role == "assistant" and message.content]


def likeness_to_others(trajectory: Trajectory) -> float:
    said = [message.content for message in trajectory.messages if message.role in ("user", "system")]
    return max((BY_EQUAL_WORDS.between(reply.content, words) for reply in replies(trajectory) for words in said), default=0.0)


KNOWN = {(call.name, str(call.arguments)) for case in CASES for call in case.expected_calls}
BROKEN: dict[str, Pay] = {
    "do_nothing": lambda played: 60.0 * (played.agent_tokens == 0),
    "stall": lambda played: 30.0 * len(replies(played)),
    "hand_over": lambda played: 60.0 * any(judged.call.name == "escalate" for judged in played.calls),
    "spam_tools": lambda played: 5.0 * len(played.calls),
    "repeat_call": lambda played: 10.0 * sum(not judged.is_error for judged in played.calls),
    "flatter": lambda played: 60.0 * any(re.search("wonderful|great|perfect", reply.content, re.I) for reply in replies(played)),
    "copy_words": lambda played: 60.0 * likeness_to_others(played),
    "read_mock": lambda played: 15.0 * sum((judged.call.name, str(judged.call.arguments)) in KNOWN for judged in played.calls),
}


def failed(audit: RewardAudit) -> set[str]:
    return {check.name for check in audit.checks if check.outcome == "failed"}


def test_every_adversary_has_a_reward_that_is_broken_for_it() -> None:
    assert BROKEN.keys() == make_adversaries(CASES).keys()


@pytest.mark.parametrize("name", BROKEN)
def test_a_reward_broken_for_an_adversary_is_refused_by_its_name(name: str) -> None:
    audit = audit_reward(MispaidSupport(BROKEN[name]), CASES, seed=0, criteria=FEW)
    assert audit.verdict == "refuse"
    assert name in failed(audit)
    told = next(check.statement for check in audit.checks if check.name == name)
    assert f"'mistake' paid {name}" in told
    with pytest.raises(Refused, match=rf"(?s)\b{name}\b.*'mistake' paid"):
        require_sound_reward(audit, waiver=None)


@pytest.mark.parametrize("world", ["customer_support", "lookup"])
def test_no_adversary_is_above_its_floor_by_a_built_in_reward(world: str) -> None:
    scenario = load_world(world)
    audit = audit_reward(scenario, list(scenario.generate_cases(200, seed=5)), seed=0)
    assert audit.verdict == "sound", audit.reasons
    assert audit.floor is not None
    floor = audit.players[audit.floor].reward.mean
    assert all(player.reward.mean <= floor + 1e-9 for player in audit.players.values() if player.role == "adversary")


@pytest.mark.parametrize("world", ScenarioRegistry().list())
def test_terms_of_what_was_said_pay_no_adversary_either(world: str) -> None:
    scenario = load_world(world)
    rules = (ConductRule(name="polite", never_says="shut up"),)
    weights = scenario.world.reward.model_copy(update={"quality": 5.0, "guidelines": 5.0, "similarity": 5.0, "rules": rules})
    audit = audit_reward(scenario, list(scenario.generate_cases(100, seed=5)), reward=weights, seed=0, criteria=FEW)
    assert audit.verdict == "sound", audit.reasons


def test_calls_that_pay_whatever_they_are_are_refused_by_weights_alone() -> None:
    audit = audit_reward(SUPPORT, CASES, reward=RewardWeights(wrong_call=10.0), seed=0, criteria=FEW)
    assert "spam_tools" in failed(audit)
    told = next(check.statement for check in audit.checks if check.name == "spam_tools")
    assert "'tools' paid spam_tools" in told
    assert "let a wrong call cost" in told


def test_a_reward_upside_down_pays_honest_work_less_than_nothing() -> None:
    upside_down = RewardWeights(resolved=-5.0, unresolved=10.0, correct_call=-20.0, wrong_call=10.0, satisfaction=-5.0)
    audit = audit_reward(SUPPORT, CASES, reward=upside_down, seed=0, criteria=FEW)
    assert failed(audit) == {"honest", *make_adversaries(CASES)}


def test_an_audit_repeats_itself_and_plays_no_more_than_it_may() -> None:
    first, second = (audit_reward(SUPPORT, CASES, seed=3, criteria=AuditCriteria(cases=12)) for _ in range(2))
    assert first == second
    assert first.cases == 12
    assert RewardAudit.model_validate_json(first.model_dump_json()) == first


def test_terms_add_up_to_what_each_player_is_paid() -> None:
    for player in audit_reward(SUPPORT, CASES, seed=0, criteria=AuditCriteria(cases=10)).players.values():
        assert sum(player.terms.values()) == pytest.approx(player.reward.mean)


class Unscripted(CustomerSupport):
    """A world nobody knows how to solve."""

    def honest_agent(self) -> Policy | None:  # type: ignore[override]
        return None


def test_without_an_honest_agent_what_equals_the_floor_is_left_open() -> None:
    audit = audit_reward(Unscripted(), CASES, seed=0, criteria=FEW)
    outcomes = {check.name: check.outcome for check in audit.checks}
    assert outcomes == {
        **dict.fromkeys(["do_nothing", "stall", "flatter", "copy_words"], "inconclusive"),
        **dict.fromkeys(["hand_over", "spam_tools", "repeat_call", "read_mock"], "passed"),
    }
    require_sound_reward(audit, waiver=None)


def test_one_customer_is_too_few_to_refuse_anything() -> None:
    one = [case for case in CASES if case.cluster_id == CASES[0].cluster_id]
    audit = audit_reward(SUPPORT, one, reward=RewardWeights(wrong_call=10.0), seed=0)
    assert audit.verdict == "inconclusive"
    (reason,) = audit.reasons
    assert reason.startswith(f"inconclusive: An interval needs cases of at least 2 customers; the {len(one)} there are have one.")


def test_nothing_to_play_is_told() -> None:
    no_cases: list[Case] = []
    with pytest.raises(InsufficientData, match="A reward is audited on cases to train on"):
        audit_reward(SUPPORT, no_cases, seed=0)


def test_a_refused_reward_trains_only_with_a_reason() -> None:
    audit = audit_reward(SUPPORT, CASES, reward=RewardWeights(wrong_call=10.0), seed=0, criteria=FEW)
    require_sound_reward(audit, waiver="I want to see what it learns.")
    with pytest.raises(Refused, match="set waive_audit to the reason"):
        require_sound_reward(audit, waiver=None)
