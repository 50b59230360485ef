"""`agentgym ab`: weights as somebody types them, and the sequence as somebody reads it."""

from datetime import UTC, datetime

import pytest

from agentgym.cli.ab import draw_sequence, read_weights
from agentgym.errors import InvalidInput
from agentgym.verdicts import Look

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def look(customers: int, low: float, high: float) -> Look:
    return Look(at=NOW, customers=customers, mean=(low + high) / 2, low=low, high=high)


def test_weights_are_read_by_version_or_alias():
    assert read_weights('{"@challenger": 0.1, "1": 0.9}') == {"1": 0.9, "@challenger": 0.1}


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        ("50/50", "is not JSON"),
        ("[0.5, 0.5]", "give every version a number"),
        ('{"1": "half", "2": 0.5}', "give every version a number"),
        ('{"1": true}', "give every version a number"),
        ("{}", "got none"),
        ('{"1": NaN, "2": 1}', "is not JSON"),
        ('{"1": 1e999, "2": 1}', "finite|is not JSON"),
        ('{"1": -0.5, "2": 1.5}', "finite and at least 0"),
        ('{"1": 0.9, "2": 0.2}', "must sum to 1"),
    ],
)
def test_weights_that_are_none_are_refused(text, fact):
    with pytest.raises(InvalidInput, match=fact):
        read_weights(text)


def test_the_last_look_is_always_drawn_and_no_line_is_wider_than_a_terminal():
    lines = draw_sequence([look(100 + 10 * number, 0.1 - 1 / (number + 2), 0.1 + 1 / (number + 2)) for number in range(50)])
    assert len(lines) <= 13
    assert lines[-1].strip().startswith("590")
    plain = [line.replace("[dim]", "").replace("[/]", "").replace("[green]", "").replace("[yellow]", "") for line in lines]
    assert max(map(len, plain)) <= 80


def test_an_interval_above_no_difference_is_green_and_does_not_cross_it():
    (_, line) = draw_sequence([look(300, 0.05, 0.15)])
    assert "[green]" in line
    assert "│" in line
    assert "┼" not in line


def test_before_the_first_look_there_is_nothing_to_draw():
    assert draw_sequence([]) == ["[dim]There is nothing to draw yet.[/]"]
