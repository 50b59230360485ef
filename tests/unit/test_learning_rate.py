import pytest

from agentgym.training.flow_grpo.schedule import learning_rate
from agentgym.training.flow_grpo.settings import FlowGRPOSettings

SETTINGS = FlowGRPOSettings(warmup_share=0.1, final_rate_share=0.2)


def test_the_rate_climbs_for_a_tenth_of_the_run_and_then_falls() -> None:
    rates = [learning_rate(0.01, SETTINGS, iteration, 50) for iteration in range(50)]
    assert rates.index(max(rates)) == 5
    assert rates == sorted(rates[:6]) + sorted(rates[6:], reverse=True)


def test_the_first_rate_is_one_part_of_the_climb_and_the_last_a_share_of_the_highest() -> None:
    assert learning_rate(0.01, SETTINGS, 0, 50) == pytest.approx(0.01 / 6)
    assert learning_rate(0.01, SETTINGS, 50, 50) == pytest.approx(0.002)
    assert learning_rate(0.01, SETTINGS, 500, 50) == pytest.approx(0.002)


def test_without_an_end_in_sight_the_rate_stays() -> None:
    assert [learning_rate(0.01, SETTINGS, iteration, None) for iteration in (0, 1000)] == [0.01, 0.01]
