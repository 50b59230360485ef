from math import sqrt

import pytest

from agentgym.errors import Unavailable
from agentgym.reward import BY_EQUAL_WORDS, Similarity


def test_equal_texts_are_alike_and_texts_without_a_common_word_are_not() -> None:
    assert BY_EQUAL_WORDS.between("The flight is late.", "the flight is LATE") == pytest.approx(1.0)
    assert BY_EQUAL_WORDS.between("The flight is late.", "No idea") == 0.0
    assert BY_EQUAL_WORDS.between("", "No idea") == 0.0


def test_likeness_is_the_cosine_of_words_and_pairs() -> None:
    """Left: a, b, "a b"; right: a, c, "a c". One of three terms is shared, each of weight 1."""
    assert BY_EQUAL_WORDS.between("a b", "a c") == pytest.approx(1 / sqrt(3 * 3))


def test_a_rare_word_counts_for_more_than_a_common_one() -> None:
    measured = Similarity.fit(["your order is ready", "your order is late", "your order is lost"])
    assert measured.between("order late", "it is late") > measured.between("order late", "my order came")


def test_neither_saying_little_nor_saying_everything_is_like_the_record() -> None:
    recorded = ["Which city?", "How many stars?", "It is booked."]
    assert BY_EQUAL_WORDS.of_replies(recorded, recorded) == pytest.approx(1.0)
    # Precision 1, recall 1/3: no other recorded reply shares a word with it.
    assert BY_EQUAL_WORDS.of_replies(["Which city?"], recorded) == pytest.approx(2 * 1 * (1 / 3) / (4 / 3))
    assert BY_EQUAL_WORDS.of_replies(["Which city?"] + [f"filler{n}" for n in range(9)], recorded) < 0.2
    assert BY_EQUAL_WORDS.of_replies([], recorded) == BY_EQUAL_WORDS.of_replies(recorded, []) == 0.0


def test_an_encoder_without_its_package_says_what_to_install() -> None:
    try:
        import sentence_transformers  # type: ignore[import-not-found]  # noqa: F401
    except ImportError:
        with pytest.raises(Unavailable, match=r"agentgym\[encoder\]"):
            Similarity(encoder="some/model").between("a", "b")
    else:
        pytest.skip("sentence-transformers is installed here")
