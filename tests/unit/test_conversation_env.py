from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from agentgym.environments.case import Case
from agentgym.environments.conversation import ConversationEnv, SimulatedClock, UserTurn
from agentgym.environments.play import play_episode
from agentgym.environments.world import WorldTools
from agentgym.episode import Outcome
from agentgym.errors import InvalidInput
from agentgym.messages import Message, ToolCall, assistant, token_estimate, user
from agentgym.reward import RewardWeights
from agentgym.scenarios import WorldScenario
from agentgym.traces.trace import Trace

LIBRARY = WorldScenario.from_folder(Path(__file__).parents[1] / "worlds" / "lending_library")
CASE = LIBRARY.case(kind="borrow", customer="CUS-00001", number=3)


def opened(case: Case = CASE, seed: int = 0) -> ConversationEnv:
    environment = LIBRARY.create_environment()
    environment.reset(seed=seed, options={"case": case})
    return environment


def test_the_episode_ends_when_the_served_customer_leaves() -> None:
    trajectory = play_episode(LIBRARY.create_environment(), LIBRARY.expert(), CASE, seed=0)
    assert trajectory.outcome is Outcome.RESOLVED
    assert not trajectory.is_truncated
    assert trajectory.messages[-1].role == "user"


def test_only_the_last_step_is_rewarded_with_the_total_of_the_trajectory() -> None:
    environment, policy = opened(), LIBRARY.expert()
    conversation, _ = environment.reset(seed=0, options={"case": CASE})
    rewards, has_ended = [], False
    while not has_ended:
        conversation, reward, has_ended, _, _ = environment.step(policy.act(conversation).message)
        rewards.append(reward)
    assert rewards == [0.0] * (len(rewards) - 1) + [environment.trajectory(()).reward]


def test_a_customer_out_of_patience_abandons() -> None:
    environment = opened()
    ends = [environment.step(assistant("One moment."))[2] for _ in range(2)]
    assert ends == [False, True]
    assert environment.trajectory(()).outcome is Outcome.ABANDONED


def test_the_turn_limit_truncates_without_terminating() -> None:
    environment = opened()
    look = assistant("", ToolCall(name="find_book", arguments={"title": "Kim"}))
    ends = [environment.step(look)[2:4] for _ in range(8)]
    assert ends == [(False, False)] * 7 + [(False, True)]
    assert environment.trajectory(()).is_truncated


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        (ToolCall(name="burn_book"), "There is no tool 'burn_book'; there are find_book"),
        (ToolCall(name="find_book", arguments={}), "'title' is a required property"),
        (ToolCall(name="lend", arguments={"book_id": "B-1", "slip_id": "S-1", "days": "two"}), "'two' is not of type 'integer'"),
    ],
)
def test_a_bad_call_is_answered_with_an_error_and_the_episode_goes_on(call: ToolCall, complaint: str) -> None:
    environment = opened()
    conversation, _, is_terminated, is_truncated, _ = environment.step(assistant("", call))
    assert conversation.messages[-1].is_error
    assert complaint in str(conversation.messages[-1].result)
    assert not is_terminated
    assert not is_truncated
    judged = environment.trajectory(()).calls[-1]
    assert (judged.is_correct, judged.is_error) == (False, True)


def test_a_call_the_schema_refuses_is_wrong_even_when_it_is_expected() -> None:
    untitled = ToolCall(name="find_book", arguments={})
    environment = opened(CASE.model_copy(update={"expected_calls": (untitled,)}))
    environment.step(assistant("", untitled))
    assert environment.trajectory(()).calls[0].is_correct is False


def test_a_customer_who_leaves_at_the_turn_limit_terminates_the_episode() -> None:
    environment = opened()
    look = assistant("", ToolCall(name="find_book", arguments={"title": "Kim"}))
    ends = [environment.step(said)[2:4] for said in [look] * 6 + [assistant("One moment.")] * 2]
    assert ends[-1] == (True, False)


def test_a_customer_sent_off_unserved_is_unresolved_and_has_not_abandoned() -> None:
    environment = opened()
    slip = {"book_id": "B-0", "slip_id": CASE.initial_state["slips"][0]["slip_id"]}
    environment.step(assistant("", ToolCall(name="reserve", arguments=slip)))
    assert environment.step(assistant("Done."))[2]
    assert environment.trajectory(()).outcome is Outcome.UNRESOLVED


def test_a_recorded_case_happens_when_it_was_recorded() -> None:
    then = datetime(2019, 3, 1, tzinfo=UTC)
    recording = Trace(conversation_id="c-1", messages=(user("Hello"),), started_at=then)
    conversation, _ = LIBRARY.create_environment().reset(seed=0, options={"case": CASE.model_copy(update={"recording": recording})})
    assert conversation.now == then


def test_calls_of_one_message_are_executed_in_their_order() -> None:
    environment = opened()
    titles = ["Kim", "Emma", "Middlemarch"]
    calls = [ToolCall(name="find_book", arguments={"title": title}) for title in titles]
    conversation = environment.step(assistant("", *calls))[0]
    assert [message.role for message in conversation.messages[-4:]] == ["assistant", "tool", "tool", "tool"]
    assert [judged.call for judged in environment.trajectory(()).calls] == calls


def test_tokens_and_seconds_are_the_agents_own() -> None:
    environment = opened()
    said = assistant("Which book would you like?")
    environment.step(said)
    trajectory = environment.trajectory(())
    assert trajectory.agent_tokens == token_estimate(said) == 7  # 26 characters, four to a token, rounded up
    assert trajectory.simulated_seconds == pytest.approx(LIBRARY.world.clock.thinking_seconds, rel=LIBRARY.world.clock.jitter)


def test_tools_take_time_of_their_own() -> None:
    environment = opened()
    environment.step(assistant("", ToolCall(name="find_book", arguments={"title": "Kim"})))
    seconds = LIBRARY.world.clock.thinking_seconds + LIBRARY.world.tools["find_book"].seconds
    assert environment.trajectory(()).simulated_seconds >= seconds * (1 - LIBRARY.world.clock.jitter)


def test_equal_seeds_give_equal_episodes_and_other_seeds_other_ids() -> None:
    first, second = (play_episode(LIBRARY.create_environment(), LIBRARY.legacy_agent(), CASE, seed=4) for _ in range(2))
    assert first == second
    ids = {LIBRARY.create_environment().reset(seed=seed, options={"case": CASE})[0].conversation_id for seed in range(9)}
    assert len(ids) == 9
    assert len({play_episode(LIBRARY.create_environment(), LIBRARY.expert(), CASE, seed=seed).simulated_seconds for seed in range(9)}) == 9


def test_the_state_hash_follows_what_was_said() -> None:
    first, second = opened(), opened()
    assert first.state_hash() == second.state_hash()
    first.step(assistant("Which book?"))
    assert first.state_hash() != second.state_hash()


def test_rollouts_of_a_case_open_alike_whatever_the_seed() -> None:
    openings = {LIBRARY.create_environment().reset(seed=seed, options={"case": CASE})[0].messages for seed in range(5)}
    assert len(openings) == 1


def test_a_step_after_the_end_is_refused() -> None:
    environment = opened()
    for _ in range(2):
        environment.step(assistant("One moment."))
    with pytest.raises(InvalidInput, match="Call reset first"):
        environment.step(assistant("Hello?"))


def test_nothing_is_played_before_reset() -> None:
    with pytest.raises(InvalidInput, match="none has begun"):
        LIBRARY.create_environment().trajectory(())


class RecordedReader:
    """A customer whose recorded desk clerk said other words than the policy, and who cannot answer."""

    annoyances = 0

    def open(self, case: Case, rng: np.random.Generator) -> str:
        return "A book, please."

    def reply(self, words: str, *, messages: Sequence[Message], is_closed: bool) -> UserTurn:
        return UserTurn(content=None, has_left=True, agent_words="Which title?", is_simulator_error=True)


def test_on_the_record_the_recorded_words_take_the_place_of_the_generated_ones() -> None:
    environment = ConversationEnv(
        WorldTools(LIBRARY.world),
        RecordedReader(),
        tools=LIBRARY.tools,
        draw_case=LIBRARY.draw_case,
        reward=RewardWeights(),
        clock=SimulatedClock(),
        max_turns=5,
    )
    environment.reset(seed=0)
    environment.step(assistant("What do you want?"))
    trajectory = environment.trajectory(())
    assert trajectory.messages[-1] == assistant("Which title?")
    assert trajectory.simulator_errors == 1
