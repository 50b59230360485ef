"""What holds for the customer whatever the agent does: equal seeds, an end, and no word of what only tools told."""

import itertools
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentgym.environments.conversation import ConversationEnv
from agentgym.episode import Outcome, Trajectory
from agentgym.messages import Message, ToolCall, assistant, tool_result, user
from agentgym.scenarios.customer_fidelity import leaks
from agentgym.scenarios.customers import profile_of
from agentgym.scenarios.from_traces import RecordedScenario, make_recorded_pack, recorded_case
from agentgym.tools import Tool
from agentgym.traces.trace import Trace

LOOK = ToolCall(name="find_parcel", arguments={"parcel": "PX-4711"})
MOVE = ToolCall(name="move_parcel", arguments={"parcel": "PX-4711", "locker": "Harbour Gate", "day": "Tuesday"})
SCHEMA = {"parcel": {"type": "string"}, "locker": {"type": "string"}, "day": {"type": "string"}, "colour": {"type": "string"}}
TRACE = Trace(
    conversation_id="p1",
    tools=(
        Tool(name="find_parcel", parameters={"type": "object", "properties": SCHEMA, "required": ["parcel"]}),
        Tool(name="move_parcel", parameters={"type": "object", "properties": SCHEMA, "required": ["parcel", "locker"]}),
    ),
    messages=(
        user("Where is my parcel?"),
        assistant("Which parcel?"),
        user("It is PX-4711."),
        assistant("", LOOK),
        tool_result(LOOK, {"courier": "Quickfoot", "lockers": ["Harbour Gate", "Old Mill"], "code": "ZZ-901"}),
        assistant("It can go to Harbour Gate or Old Mill."),
        user("Harbour Gate is fine. I come on Tuesday."),
        assistant("", MOVE),
        tool_result(MOVE, {"status": "moved", "code": "ZZ-901"}),
        assistant("It is done."),
        user("Thank you!"),
    ),
)
CASE = recorded_case(TRACE)
SCENARIO = RecordedScenario(make_recorded_pack([TRACE], (), "digest"), customer="goal")
WORDS = st.sampled_from(
    ["", "I see.", "Which parcel?", "Which locker?", "Shall I move it to Old Mill?", "Which day?", "What colour?", "Anything else?",
     "Please confirm: Harbour Gate on Monday.", "It can go to Harbour Gate or Old Mill.", "Who are you?"]
)  # fmt: skip
CALLS = st.builds(
    ToolCall,
    name=st.sampled_from(["find_parcel", "move_parcel", "no_tool"]),
    arguments=st.dictionaries(st.sampled_from([*SCHEMA]), st.sampled_from(["PX-4711", "Harbour Gate", "Old Mill", "Tuesday"])),
)
ACTIONS = st.lists(st.one_of(WORDS.map(assistant), CALLS.map(lambda call: assistant("", call)), st.just(assistant("", LOOK))), max_size=12)


def play(environment: ConversationEnv, actions: Iterator[Message], *, seed: int = 0) -> Trajectory:
    environment.reset(seed=seed, options={"case": CASE})
    for action in actions:
        _, _, is_terminated, is_truncated, _ = environment.step(action)
        if is_terminated or is_truncated:
            break
    return environment.trajectory(())


@settings(max_examples=60, deadline=None)
@given(actions=ACTIONS, seed=st.integers(0, 2**31), follows_record=st.booleans())
def test_equal_seeds_and_actions_give_equal_words(actions: list[Message], seed: int, follows_record: bool) -> None:
    environments = [SCENARIO.create_environment(follows_record=follows_record) for _ in range(2)]
    left, right = (play(environment, iter(actions), seed=seed) for environment in environments)
    assert left == right


@settings(max_examples=60, deadline=None)
@given(actions=ACTIONS, follows_record=st.booleans())
def test_patience_ends_every_episode(actions: list[Message], follows_record: bool) -> None:
    """A random agent that falls silent after a while: whatever it did, the customer leaves before the turns run out."""
    trajectory = play(
        SCENARIO.create_environment(follows_record=follows_record), itertools.chain(actions, itertools.repeat(assistant("I see.")))
    )
    assert not trajectory.is_truncated
    assert trajectory.outcome is not None


@pytest.mark.parametrize("words", ["", "I see.", "Which parcel?", "What colour?", "Anything else?", "Shall I?", "Who are you?"])
@pytest.mark.parametrize("follows_record", [True, False])
def test_an_agent_that_always_says_the_same_is_left_as_a_failure(words: str, follows_record: bool) -> None:
    trajectory = play(SCENARIO.create_environment(follows_record=follows_record), itertools.repeat(assistant(words)))
    assert trajectory.outcome is Outcome.ABANDONED


def test_an_agent_that_asks_without_end_is_left_as_a_failure() -> None:
    questions = (assistant(f"What is your {number}. favourite, and which parcel?") for number in itertools.count())
    assert play(SCENARIO.create_environment(follows_record=False), questions).outcome is Outcome.ABANDONED


@settings(max_examples=80, deadline=None)
@given(actions=ACTIONS, follows_record=st.booleans())
def test_nothing_that_only_a_tool_told_is_ever_said(actions: list[Message], follows_record: bool) -> None:
    trajectory = play(SCENARIO.create_environment(follows_record=follows_record), iter(actions))
    assert not list(leaks(TRACE, profile_of(TRACE), trajectory.messages))


def test_a_leak_is_seen() -> None:
    """The measure itself: the first is a leak, the second was heard from the agent, the third is the customer's own."""
    profile = profile_of(TRACE)
    assert list(leaks(TRACE, profile, (user("To Harbour Gate with ZZ-901."),))) == ["harbour gate", "zz-901"]
    assert not list(leaks(TRACE, profile, (assistant("Harbour Gate?"), user("Harbour Gate, yes."))))
    assert not list(leaks(TRACE, profile, (user("It is PX-4711."),)))
