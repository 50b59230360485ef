"""Of what fails, the least that still does."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from agentgym.scenarios.regressions.delta_debugging import ddmin


def test_two_units_far_apart_are_found_among_many() -> None:
    """The example of Zeller and Hildebrandt 2002, section 3.2: 1, 7 and 8 of eight units fail together."""
    result = ddmin(range(1, 9), lambda kept: {1, 7, 8} <= set(kept))
    assert result.units == (1, 7, 8)
    assert result.is_minimal


@given(st.sets(st.integers(0, 39), min_size=1, max_size=6))
def test_what_is_left_fails_and_nothing_of_it_can_go(needed: set[int]) -> None:
    result = ddmin(range(40), lambda kept: needed <= set(kept), most_tests=10_000)
    assert set(result.units) == needed
    assert result.units == tuple(sorted(needed))


@given(st.lists(st.booleans(), min_size=12, max_size=12))
def test_a_failure_that_is_not_monotone_still_ends_1_minimal(weights: list[bool]) -> None:
    def fails(kept: Sequence[int]) -> bool:
        return len(kept) % 2 == 0 and sum(weights[unit] for unit in kept) >= sum(weights) // 2

    if not fails(range(12)):
        return
    result = ddmin(range(12), fails, most_tests=10_000)
    assert fails(result.units)
    assert not any(fails([other for other in result.units if other != unit]) for unit in result.units)


def test_the_number_of_tests_is_bounded_and_said() -> None:
    tests = 0

    def fails(kept: Sequence[int]) -> bool:
        nonlocal tests
        tests += 1
        return {0, 50, 99} <= set(kept)

    result = ddmin(range(100), fails, most_tests=7)
    assert (tests, result.tests, result.is_minimal) == (7, 7, False)
    assert {0, 50, 99} <= set(result.units)


def test_what_fails_without_anything_is_left_with_nothing() -> None:
    assert ddmin([1, 2, 3], lambda kept: True).units == ()
