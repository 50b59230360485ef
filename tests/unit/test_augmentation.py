"""Copies to train on: said otherwise, and still true."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentgym.errors import InsufficientData
from agentgym.messages import Message, ToolCall, assistant, tool_result, user
from agentgym.scenarios.synthesis.augmentation import AugmentationConfig, augment_training_part, augmented, require_copies, why_not
from agentgym.scenarios.synthesis.wording import noisy, paraphrased, reordered
from agentgym.scenarios.value_sources import value_sources
from agentgym.traces.snapshot import SplitConfig, held_out_part
from agentgym.traces.trace import Trace


def conversation(number: int, *, customer: str | None = None) -> Trace:
    find = ToolCall(name="Hotels.Find", arguments={"city": "Rome", "nights": str(number + 2), "day": "2000-01-07"})
    topics = ("my sister marries there", "our company meets there", "the museum opens there", "an old friend lives there")
    messages: tuple[Message, ...] = (
        user(f"I am looking for a hotel in Rome. We stay {number + 2} nights because {topics[number % 4]}. I arrive next Friday."),
        assistant("", find),
        tool_result(find, [{"hotel": f"Inn {number}"}]),
        assistant(f"There is Inn {number}."),
    )
    return Trace(conversation_id=f"c{number}", customer_id=customer, messages=messages)


TRACES = tuple(conversation(number) for number in range(12))


def always(before: str, after: str) -> bool:
    return True


def test_only_the_training_part_is_copied_and_copies_stay_on_its_side() -> None:
    made = augment_training_part(TRACES, AugmentationConfig(copies=2))
    held_out = held_out_part((trace.cluster_id for trace in TRACES), SplitConfig())
    assert made.copies
    assert (made.trained_on, made.held_out) == (len(TRACES) - len(held_out), len(held_out))
    assert not {copy.cluster_id for copy in made.copies} & held_out
    everything = (*TRACES, *made.copies)
    assert held_out_part((trace.cluster_id for trace in everything), SplitConfig()) == held_out


def test_copies_have_names_of_their_own_and_follow_from_the_seed() -> None:
    first, again, other = (augment_training_part(TRACES, AugmentationConfig(seed=seed)) for seed in (1, 1, 2))
    assert first == again
    assert first.copies != other.copies
    assert len({copy.conversation_id for copy in first.copies}) == len(first.copies)


def test_half_a_copy_is_one_of_every_second() -> None:
    traces = [conversation(number) for number in range(200)]
    config = AugmentationConfig(copies=0.5)
    made = augment_training_part(traces, config)
    count = len(made.copies) + sum(made.dropped.values())
    assert abs(count - made.trained_on / 2) < 4 * (made.trained_on / 4) ** 0.5  # four standard deviations


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 11), st.integers(0, 10_000), st.floats(0, 1), st.floats(0, 1))
def test_what_could_be_known_before_a_call_can_be_known_in_a_copy(number: int, seed: int, paraphrase: float, noise: float) -> None:
    trace = TRACES[number]
    copy = augmented(trace, AugmentationConfig(seed=seed, paraphrase=paraphrase, noise=noise))
    assert why_not(trace, copy) == ""
    assert [call.arguments for message in copy.messages for call in message.tool_calls] == [
        call.arguments for message in trace.messages for call in message.tool_calls
    ]


def test_sources_tell_said_from_meant() -> None:
    ((_, sources),) = value_sources(TRACES[0].model_copy(update={"messages": TRACES[0].messages[:2]}))
    assert sources[("city",)] == {"said"}
    # 1 January 2000, which an unknown day counts as, is a Saturday: next Friday is the 7th.
    assert sources[("day",)] == {"read"}


def test_a_copy_that_lost_a_value_is_told() -> None:
    lost = TRACES[0].model_copy(update={"messages": (user("I need a hotel."), *TRACES[0].messages[1:])})
    assert why_not(TRACES[0], lost) == "A value of a call can no longer be known from what was said."


def test_copies_that_say_the_same_again_are_dropped() -> None:
    made = augment_training_part(TRACES, AugmentationConfig(entities=False, order=False, paraphrase=0, noise=0))
    assert made.copies == ()
    assert made.dropped == {"It nearly repeats another conversation.": made.trained_on}
    with pytest.raises(InsufficientData, match="no copy was kept"):
        require_copies(made)


@pytest.mark.parametrize(
    ("words", "said_otherwise"),
    [
        ("I am looking for a hotel.", "I'm searching for a hotel."),
        ("If it rains, I would like a taxi.", "I'd like a taxi if it rains."),
        ("Can you do not disturb me please now.", "Could you don't disturb me now."),
        ("That is what it is.", "That's what it is."),
        ("Rome.", "Rome."),
    ],
)
def test_rules_change_the_words_and_not_the_meaning(words: str, said_otherwise: str) -> None:
    assert paraphrased(words, np.random.default_rng(0), keeps=always, rate=1.0) == said_otherwise


def test_a_change_that_loses_a_value_is_not_made() -> None:
    assert paraphrased("I am", np.random.default_rng(0), keeps=lambda before, after: False, rate=1.0) == "I am"
    assert (
        noisy("good morning everybody", np.random.default_rng(0), keeps=lambda before, after: False, rate=1.0) == "good morning everybody"
    )


def test_sentences_that_lean_on_others_stay_where_they_are() -> None:
    rng = np.random.default_rng(0)
    assert reordered("I travel with my dog. We need two rooms.", rng, keeps=always) == "We need two rooms. I travel with my dog."
    for words in (
        "I have a dog. It is very small.",
        "Yes, I do mean Rome. We are two people.",
        "Where are you located? My car is old.",
        "Rome.",
    ):
        assert reordered(words, rng, keeps=always) == words


def test_noise_is_there_and_bounded() -> None:
    words = "please find something comfortable for everybody"
    assert noisy(words, np.random.default_rng(0), keeps=always, rate=0.0) == words
    noise = noisy(words, np.random.default_rng(0), keeps=always, rate=1.0)
    assert noise != words
    assert abs(len(noise) - len(words)) <= len("Ok so ") + len(words.split())
