from functools import partial
from math import isfinite

import numpy as np
import pytest

from agentgym.policies.causal_lm.grammar import Allowed, Cursor, Number, Piece, Pieces, Stretch, Writing

END, DIGITS = 99, {token: str(token) for token in range(10)} | {10: ".", 11: "-"}


def pieces(*texts: str, then: Pieces | None = None) -> Pieces:
    """One token for each letter, and END after the last piece."""
    return Pieces(
        "act", [Piece(text, (*map(ord, text), *(() if then else (END,))), partial(lambda: then) if then else None) for text in texts]
    )


def test_tokens_that_leave_no_choice_are_not_decided():
    cursor = Cursor(pieces("refund", "return"))
    assert bytes(cursor.tokens) == b"re"
    cursor.choose(0)
    assert cursor.is_done
    assert cursor.text == "refund"
    assert [choice.place for choice in cursor.choices] == [2]


def test_a_single_piece_is_written_without_a_decision():
    cursor = Cursor(pieces("close"))
    assert (cursor.is_done, cursor.text, cursor.choices) == (True, "close", [])


def test_a_response_goes_on_with_what_follows_a_piece():
    cursor = Cursor(pieces("a", "b", then=pieces("x", "y")))
    cursor.choose(1)
    cursor.choose(0)
    assert (cursor.text, cursor.tokens) == ("bx", [ord("b"), ord("x"), END])


def test_following_recorded_tokens_finds_the_same_choices():
    cursor = Cursor(pieces("refund", "return", "close"))
    assert cursor.follow([*map(ord, "return"), END])
    assert [int(choice.allowed.ids[choice.chosen]) for choice in cursor.choices] == [ord("r"), ord("t")]


@pytest.mark.parametrize("tokens", [b"rename", b"retur", b"returns"])
def test_tokens_that_the_grammar_does_not_write_are_not_followed(tokens: bytes):
    assert not Cursor(pieces("refund", "return")).follow([*tokens, END])


def stretch(most: int) -> Stretch:
    inside = Allowed(np.array([ord("a"), ord("b"), END]), is_wide=True)
    return Stretch("words", Writing(inside, END, most, lambda tokens: bytes(tokens).decode(), None))


def test_a_stretch_is_written_until_its_closing_token():
    cursor = Cursor(stretch(most=9))
    for place in (0, 1, 0, 2):
        cursor.choose(place)
    assert (cursor.is_done, cursor.text) == (True, "aba")


def test_a_stretch_is_closed_when_it_is_full():
    cursor = Cursor(stretch(most=2))
    cursor.choose(0)
    cursor.choose(0)
    assert (cursor.is_done, cursor.text, cursor.tokens[-1]) == (True, "aa", END)


@pytest.mark.parametrize("text", ["0", "7", "10", "-3", "669.95", "0.5"])
def test_any_json_number_can_be_written(text: str):
    tokens = [next(token for token, part in DIGITS.items() if part == mark) for mark in text]
    cursor = Cursor(Number("amount", DIGITS, pieces("}")))
    assert cursor.follow([*tokens, ord("}"), END])
    assert cursor.text == text + "}"


def test_a_number_never_grows_into_one_that_cannot_be_ended():
    rng = np.random.default_rng(0)
    for _ in range(200):
        cursor = Cursor(Number("amount", DIGITS, pieces("}")))
        while not cursor.is_done:
            cursor.choose(int(rng.integers(len(cursor.allowed.ids) - (len(cursor.tokens) < 25))))
        assert isfinite(float(cursor.text.removesuffix("}")))


@pytest.mark.parametrize("text", ["007", "1.2.3", "--1", "1.", "-", "", ".", ".5", "-."])
def test_what_is_no_json_number_cannot_be_written(text: str):
    tokens = [next(token for token, part in DIGITS.items() if part == mark) for mark in text]
    assert not Cursor(Number("amount", DIGITS, pieces("}"))).follow([*tokens, ord("}"), END])
