import math
from collections import Counter

import pytest

from agentgym.errors import InvalidInput
from agentgym.serving.traffic import Allocation

CUSTOMERS = [f"customer-{number}" for number in range(20_000)]


def split(weights: dict[str, float], salt: str = "") -> dict[str, str]:
    allocation = Allocation(weights=weights, salt=salt)
    return {customer: allocation.variant_of(customer) for customer in CUSTOMERS}


@pytest.mark.parametrize("weights", [{"1": 0.9, "2": 0.1}, {"1": 0.5, "2": 0.3, "3": 0.2}])
def test_every_variant_gets_its_share(weights):
    counts = Counter(split(weights).values())
    for variant, weight in weights.items():
        four_sigma = 4 * math.sqrt(weight * (1 - weight) / len(CUSTOMERS))
        assert counts[variant] / len(CUSTOMERS) == pytest.approx(weight, abs=four_sigma)


def test_a_customer_stays_with_a_version():
    assert Allocation(weights={"1": 0.5, "2": 0.5}).variant_of("ann") == Allocation(weights={"2": 0.5, "1": 0.5}).variant_of("ann")


def test_a_ramp_moves_only_customers_to_the_version_that_grows():
    before, after = split({"1": 0.9, "2": 0.1}), split({"1": 0.7, "2": 0.3})
    moved = Counter((before[customer], after[customer]) for customer in CUSTOMERS if before[customer] != after[customer])
    assert set(moved) == {("1", "2")}


def test_a_version_that_leaves_moves_nobody_else():
    before, after = split({"1": 0.5, "2": 0.3, "3": 0.2}), split({"1": 0.625, "2": 0.375, "3": 0.0})
    assert all(after[customer] == before[customer] for customer in CUSTOMERS if before[customer] != "3")


def test_a_version_without_weight_serves_nobody():
    assert set(split({"1": 1.0, "2": 0.0}).values()) == {"1"}


def test_another_salt_deals_everybody_anew():
    one, other = split({"1": 0.5, "2": 0.5}, "march"), split({"1": 0.5, "2": 0.5}, "april")
    same = sum(one[customer] == other[customer] for customer in CUSTOMERS) / len(CUSTOMERS)
    assert same == pytest.approx(0.5, abs=4 * math.sqrt(0.25 / len(CUSTOMERS)))


def test_an_even_allocation_gives_each_the_same():
    assert Allocation.even(["b", "a", "c"]).weights == {"a": 1 / 3, "b": 1 / 3, "c": 1 / 3}


@pytest.mark.parametrize("weights", [{"1": 0.9, "2": 0.2}, {"1": 0.5}, {"1": 0.0, "2": 0.0}])
def test_weights_must_sum_to_one(weights):
    with pytest.raises(InvalidInput, match="must sum to 1; got"):
        Allocation(weights=weights)


@pytest.mark.parametrize("weight", [-0.1, math.nan, math.inf])
def test_weights_must_be_finite_and_not_negative(weight):
    with pytest.raises(InvalidInput, match="finite and at least 0"):
        Allocation(weights={"1": 1.0, "2": weight})
