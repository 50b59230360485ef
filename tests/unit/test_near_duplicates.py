import numpy as np
import pytest

from agentgym.messages import ToolCall, assistant, user
from agentgym.traces.near_duplicates import NearDuplicates, signature_of, similarity
from agentgym.traces.trace import Trace


def trace_of(words: str, answer: str = "", **arguments: str) -> Trace:
    call = ToolCall(name="find", arguments=dict(arguments))
    return Trace(conversation_id="c", messages=(user(words), assistant(answer, call)))


def said(*numbers: int) -> str:
    """One word for each number, such as `hac`, without digits: those would be masked."""
    return " ".join("".join(chr(ord("a") + int(digit)) for digit in str(number)) for number in numbers)


def counted(*traces: Trace) -> list[bool]:
    duplicates = NearDuplicates()
    return [duplicates.observe(trace) for trace in traces]


def test_a_copy_counts_and_a_conversation_of_its_own_does_not() -> None:
    duplicates = NearDuplicates()
    for words in (said(*range(50)), said(*range(50)), said(*range(100, 150)), said(*range(50))):
        duplicates.observe(trace_of(words))
    assert duplicates.count == 2


def test_other_values_do_not_make_another_conversation() -> None:
    words = "I want to fly to {} on the {}th for {} dollars please, my address is {}"
    first = trace_of(words.format("Paris", 4, "1,200", "ann@example.com"), "Is it {}?".format("Paris"), city="Paris")
    other = trace_of(words.format("Berlin", 7, "900", "bob@example.org"), "Is it {}?".format("Berlin"), city="Berlin")
    third = trace_of(words.format("Berlin", 7, "900", "bob@example.org"), "Is it {}?".format("Berlin"))
    assert counted(first, other, third) == [False, True, False]


def test_who_says_it_matters() -> None:
    words, answer = said(*range(60)), said(*range(100, 160))
    assert counted(trace_of(words, answer), trace_of(answer, words)) == [False, False]


@pytest.mark.parametrize(("changed", "is_near"), [(1, True), (4, False)])
def test_a_word_changed_is_near_and_four_are_not(changed: int, is_near: bool) -> None:
    """A word is in three runs: with one of 100 changed, 95 of 101 runs are the same; with four, 86 of 110."""
    words = list(range(100))
    other = [number + 1000 * (number % 10 == 5 and number < 10 * changed) for number in words]
    assert counted(trace_of(said(*words)), trace_of(said(*other))) == [False, is_near]


def test_the_estimate_is_the_share_of_runs_in_common() -> None:
    """Two that share n of n + 2m runs; the mean of 40 estimates lies within four standard errors of sqrt(J (1 - J) / 128 / 40)."""
    rng = np.random.default_rng(0)
    for common, own in ((18, 1), (30, 10), (10, 40)):
        estimates = []
        for _ in range(40):
            start = int(rng.integers(10_000, 90_000_000))
            # `common` runs lie in the words that both begin with, and `own` runs hold a word of one alone.
            shared, tail = range(start, start + common + 2), range(own)
            left, right = (trace_of(said(*shared, *(10**8 * side + start + number for number in tail))) for side in (1, 2))
            estimates.append(float(similarity(signature_of(left), signature_of(right))))
        share = common / (common + 2 * own)
        assert np.mean(estimates) == pytest.approx(share, abs=4 * (share * (1 - share) / 128 / 40) ** 0.5 + 0.005)


def test_nearly_all_near_copies_are_found_among_thousands() -> None:
    """Pairs with 95 of 101 runs in common, .94: the estimate, with a standard error of .021, reaches .9 for 97 of 100 of them."""
    rng, duplicates = np.random.default_rng(1), NearDuplicates()
    originals = [rng.integers(10_000, 99_999, size=100) for _ in range(2_000)]
    assert not any(duplicates.observe(trace_of(said(*words))) for words in originals)
    copies = [np.where(np.arange(100) == 50, 5, words) for words in originals[::10]]
    assert sum(duplicates.observe(trace_of(said(*words))) for words in copies) >= 185


def test_memory_is_bounded_and_the_oldest_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentgym.traces.near_duplicates.REMEMBERED_CONVERSATIONS", 8)
    traces = [trace_of(said(*range(100 * number, 100 * number + 40))) for number in range(1, 10)]
    assert counted(*traces, traces[0], traces[-1]) == [False] * 10 + [True]


def test_a_conversation_without_words_is_no_obstacle() -> None:
    assert counted(trace_of(""), trace_of("Hi"), trace_of("Hi")) == [False, False, True]
