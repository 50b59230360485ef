import numpy as np

from agentgym.environments.phrasing import phrase, with_typos


def phrases(*choices: str) -> set[str]:
    rng = np.random.default_rng(0)
    return {phrase(choices, rng) for _ in range(200)}


def test_every_alternative_is_said() -> None:
    assert phrases("I [can't|cannot] [log in|sign in]") == {"I can't log in", "I can't sign in", "I cannot log in", "I cannot sign in"}


def test_alternatives_nest() -> None:
    assert phrases("[I [want|need] it|Now]") == {"I want it", "I need it", "Now"}


def test_an_empty_alternative_leaves_no_gap_behind() -> None:
    assert phrases("It fails [today|].") == {"It fails today.", "It fails."}


def test_typos_change_plain_words_but_no_addresses_and_names() -> None:
    words = with_typos("Please reset Anna USR-12345", 1.0, np.random.default_rng(0))
    assert "reset" not in words
    assert words.endswith("Anna USR-12345")
