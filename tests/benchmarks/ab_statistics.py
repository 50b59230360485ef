"""How often the online gate errs when it is looked at fifty times, and how many customers a gain takes. Prints one JSON object.

Ratios: the promised false alarms ÷ those seen, without and with a ramp during a trend; the false alarms of naive peeking ÷ ours; a
second ÷ the time to analyse 20,000 conversations.
"""

import json
import platform
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import sqrt
from typing import Any

import numpy as np

from agentgym.ab_tests.ab_test import ABTest, ABTestCriteria, Observation
from agentgym.ab_tests.analysis import analyze
from agentgym.episode import Outcome
from agentgym.errors import InsufficientData
from agentgym.sequential import Comparison, Trials, compare_rates, sample_ratio_p_value, sequence_interval
from agentgym.verdicts import Subject

TESTS, LOOKS = 1000, 50
CRITERIA = ABTestCriteria()
# Customers at which the search for a gain is given up, by gain.
GIVEN_UP_AT = {0.02: 60_000, 0.05: 12_000, 0.1: 4_000}
START = datetime(2025, 3, 3, tzinfo=UTC)


def main() -> None:
    equal, ramped = equal_arms(), ramped_arms()
    seconds = analysis_seconds(20_000)
    print(
        json.dumps(
            {
                "ratios": {
                    "promised_false_alarms": CRITERIA.alpha / max(equal["confidence_sequence"], 1 / TESTS),
                    "promised_false_alarms_in_a_ramp": CRITERIA.alpha / max(ramped["confidence_sequence"], 1 / TESTS),
                    "naive_false_alarms": equal["naive_z_test"] / max(equal["confidence_sequence"], 1 / TESTS),
                    "analysis_within_a_second": 1 / seconds,
                },
                "figures": {
                    "false_alarms": equal,
                    "false_alarms_in_a_ramp": ramped,
                    "gains": {f"{gain:+.2f}": gain_found(gain, limit) for gain, limit in GIVEN_UP_AT.items()},
                    "seconds_for_20000_conversations": round(seconds, 3),
                },
                "machine": {"platform": platform.platform(), "python": platform.python_version()},
            },
            indent=2,
        )
    )


def equal_arms() -> dict[str, float]:
    """Shares of tests with an alarm at any of the looks, where control and treatment are the same; 3 conversations a customer."""
    rng = np.random.default_rng(21)
    alarms = {"confidence_sequence": 0, "naive_z_test": 0, "sample_ratio": 0}
    for _ in range(TESTS):
        looks = list(peeks(visits(rng, 6000, customers=2000)))
        alarms["confidence_sequence"] += any(excludes_zero(comparison) for _, comparison in looks)
        alarms["naive_z_test"] += any(naive_z_test_alarms(past) for past, _ in looks)
        alarms["sample_ratio"] += any(sample_ratio_alarms(past) for past, _ in looks)
    return {name: count / TESTS for name, count in alarms.items()}


def ramped_arms() -> dict[str, float]:
    """The same while the split goes from 9 : 1 to even and everybody's success rises by 20 points; without strata for comparison."""
    rng, tests = np.random.default_rng(22), TESTS // 2
    alarms = {"confidence_sequence": 0, "without_strata": 0}
    for _ in range(tests):
        seen = ramp(rng, 6000, customers=1500)
        alarms["confidence_sequence"] += any(excludes_zero(comparison) for _, comparison in peeks(seen))
        pooled = replace(seen, strata=np.zeros_like(seen.strata))
        alarms["without_strata"] += any(excludes_zero(comparison) for _, comparison in peeks(pooled))
    return {name: count / tests for name, count in alarms.items()}


def gain_found(gain: float, limit: int) -> dict[str, Any]:
    """Power, and how many customers of both arms had been seen when the gain was found; 1.5 conversations each."""
    rng, tests = np.random.default_rng(23), 200
    stops = [first_alarm(visits(rng, limit * 3 // 2, customers=limit, gain=gain)) for _ in range(tests)]
    found = sorted(stop for stop in stops if stop is not None)
    reached = [*found, *[None] * (tests - len(found))]
    return {
        "given_up_at_customers": limit,
        "power": len(found) / tests,
        "customers_for_half": reached[tests // 2],
        "customers_for_four_of_five": reached[tests * 4 // 5],
    }


def first_alarm(seen: Trials) -> int | None:
    """Customers at the first look that finds a difference, of 100 looks."""
    return next((comparison.customers for _, comparison in peeks(seen, 100) if excludes_zero(comparison)), None)


def analysis_seconds(conversations: int) -> float:
    rng = np.random.default_rng(24)
    control, treatment = (Subject(name=name, checkpoint_digest=name) for name in ("1", "2"))
    weights = [{"1": 0.9, "2": 0.1}, {"1": 0.5, "2": 0.5}]
    test = ABTest(
        test_id="t", agent="a", control=control, treatment=treatment, salt="", weights=weights[1], started_at=START, criteria=CRITERIA
    )
    draws, who = rng.random(conversations // 3), rng.integers(0, conversations // 3, conversations)
    observations = [
        observation(number, int(who[number]), float(draws[who[number]]), weights[2 * number >= conversations], rng)
        for number in range(conversations)
    ]
    started = time.perf_counter()
    report = analyze(test, observations, at=START + timedelta(days=365))
    assert len(report.sequence) == LOOKS
    return time.perf_counter() - started


def observation(number: int, who: int, draw: float, weights: dict[str, float], rng: np.random.Generator) -> Observation:
    at = START + timedelta(minutes=number)
    return Observation(
        conversation_id=str(number),
        unit=str(who),
        variant="2" if draw < weights["2"] else "1",
        weights=weights,
        started_at=at,
        requests=4,
        failures=0,
        outcome=Outcome.RESOLVED if rng.random() < 0.7 else Outcome.UNRESOLVED,
        outcome_at=at + timedelta(hours=float(rng.exponential(5))),
    )


def visits(rng: np.random.Generator, rows: int, *, customers: int, gain: float = 0.0) -> Trials:
    """Conversations in order, of customers who return; each customer's success is drawn around 0.7 with a standard deviation of 0.15."""
    who, rates = crowd(rng, rows, customers)
    treated = rng.random(customers) < 0.5
    successes = rng.random(rows) < (rates + gain * treated)[who]
    return Trials(customers=who, is_treatment=treated[who], strata=np.zeros(rows, dtype=np.int64), successes=successes)


def ramp(rng: np.random.Generator, rows: int, *, customers: int) -> Trials:
    """Half of the rows at 9 : 1, half even. Who is moved by it keeps the conversations before; strata are of the start and of now."""
    who, rates = crowd(rng, rows, customers)
    draws, phase = rng.random(customers), (np.arange(rows) >= rows / 2).astype(np.int64)
    on_treatment = draws[who] < np.where(phase == 0, 0.1, 0.5)
    _, firsts = np.unique(who, return_index=True)
    began, began_on_treatment = np.zeros(customers, dtype=np.int64), np.zeros(customers, dtype=bool)
    began[who[firsts]], began_on_treatment[who[firsts]] = phase[firsts], on_treatment[firsts]
    successes = rng.random(rows) < rates[who] - 0.2 + 0.2 * np.arange(rows) / rows
    all_rows = Trials(customers=who, is_treatment=on_treatment, strata=2 * began[who] + phase, successes=successes)
    return all_rows.take(on_treatment == began_on_treatment[who])


def crowd(rng: np.random.Generator, rows: int, customers: int) -> tuple[Any, Any]:
    """Who comes in each row, and every customer's own rate of success."""
    who = np.minimum((np.arange(rows) * np.sqrt(rng.random(rows)) * customers / rows).astype(np.int64), customers - 1)
    concentration = 0.7 * 0.3 / 0.15**2 - 1
    return who, rng.beta(0.7 * concentration, 0.3 * concentration, customers)


def peeks(seen: Trials, looks: int = LOOKS) -> Iterator[tuple[Trials, Comparison]]:
    for end in np.linspace(0, len(seen.customers), looks + 1).astype(int)[1:]:
        past = seen.take(slice(end))
        try:
            comparison = compare_rates(past)
        except InsufficientData:
            continue
        if min(comparison.control_customers, comparison.treatment_customers) >= CRITERIA.min_customers:
            yield past, comparison


def excludes_zero(comparison: Comparison) -> bool:
    low, high = sequence_interval(comparison, alpha=CRITERIA.alpha, tightest_at=CRITERIA.tightest_at)
    return low > 0 or high < 0


def naive_z_test_alarms(past: Trials) -> bool:
    """The two-proportion z-test on conversations at 5 %, as if each were a customer and nobody had looked before."""
    control, treatment = past.successes[~past.is_treatment], past.successes[past.is_treatment]
    pooled = past.successes.mean()
    error = sqrt(pooled * (1 - pooled) * (1 / len(control) + 1 / len(treatment)))
    return bool(abs(treatment.mean() - control.mean()) > 1.96 * error)


def sample_ratio_alarms(past: Trials) -> bool:
    _, firsts = np.unique(past.customers, return_index=True)
    dealt = past.is_treatment[firsts]
    return sample_ratio_p_value(dealt, np.full(len(dealt), 0.5)) < CRITERIA.sample_ratio_alpha


if __name__ == "__main__":
    main()
