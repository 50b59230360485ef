"""What live traffic says of a treatment: the difference as it came in, and every check of the online gate."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from agentgym.ab_tests.ab_test import ABTest, ABTestCriteria, Observation
from agentgym.errors import InsufficientData
from agentgym.sequential import (
    Comparison,
    Integers,
    Trials,
    Vector,
    compare_rates,
    mixture_boundary,
    sample_ratio_p_value,
    sequence_interval,
)
from agentgym.statistics import Estimate, ratio_estimate
from agentgym.verdicts import ABTestReport, Arm, Check, CheckOutcome, Look, Subject

# Fewer requests stop nothing: a first customer with a broken connection would end a test.
_MIN_REQUESTS = 50
# Of "above the limit", one-sided at 0.001: as strict as the alarm of the split, since it is looked at as often.
_FAILURES_CONFIDENCE = 0.998


def analyze(test: ABTest, observations: Sequence[Observation], *, at: datetime, looks: int = 50) -> ABTestReport:
    """The report as it stood `at` that moment, on what was known by then.

    A customer belongs to the variant they met first: whether a ramp moves them depends on the hash alone, so what they say on another
    variant can be left out. They are compared with those who began under the same split, over conversations under the same split, so that a
    trend in time is not taken for an effect. Variants other than control and treatment are ignored.
    looks: moments at which the difference is given, evenly over the outcomes since both arms had enough customers; the last is `at`.
    """
    started = sorted((seen for seen in observations if seen.started_at <= at), key=lambda seen: (seen.started_at, seen.conversation_id))
    dealt = _deal(test, started)
    live = _columns(test, dealt, at)
    present = _compare(live.known)
    sequence = tuple(_looks(live, test.criteria, looks, at))
    return ABTestReport(
        test_id=test.test_id,
        agent=test.agent,
        started_at=test.started_at,
        at=at,
        control=_arm(test, test.control, started, dealt, at),
        treatment=_arm(test, test.treatment, started, dealt, at),
        sequence=sequence,
        crossovers=dealt.crossovers,
        checks=tuple(_checks(test, started, dealt, live, present)),
        criteria=test.criteria.model_dump(mode="json"),
    )


@dataclass(frozen=True, kw_only=True)
class _Dealt:
    """Whom the split dealt to the two arms.

    first: every customer's first conversation, of those who began in an arm.   kept: their conversations on the variant they began with,
    in the order they started.   crossovers: customers who met the other arm later.
    """

    first: Mapping[str, Observation]
    kept: Sequence[Observation]
    crossovers: int


@dataclass(frozen=True, kw_only=True)
class _Live:
    """The kept conversations in columns.

    served: all of them; a success is that the outcome is known.   known: those with an outcome, as it arrived, a success as the criteria
    have it.   arrivals: when, in seconds since 1970, shape (known,).
    """

    served: Trials
    known: Trials
    arrivals: Vector


def _deal(test: ABTest, started: Sequence[Observation]) -> _Dealt:
    arms = {test.control.name, test.treatment.name}
    first: dict[str, Observation] = {}
    for seen in started:
        first.setdefault(seen.unit, seen)
    first = {unit: seen for unit, seen in first.items() if seen.variant in arms}
    kept = [seen for seen in started if seen.unit in first and seen.variant == first[seen.unit].variant]
    moved = {seen.unit for seen in started if seen.unit in first and seen.variant in arms - {first[seen.unit].variant}}
    return _Dealt(first=first, kept=kept, crossovers=len(moved))


def _columns(test: ABTest, dealt: _Dealt, at: datetime) -> _Live:
    numbers = {unit: number for number, unit in enumerate(dealt.first)}
    began = {unit: _split(seen) for unit, seen in dealt.first.items()}
    strata: dict[tuple[_Split, _Split], int] = {}
    served = Trials(
        customers=np.array([numbers[seen.unit] for seen in dealt.kept], dtype=np.int64),
        is_treatment=np.array([seen.variant == test.treatment.name for seen in dealt.kept], dtype=bool),
        strata=np.array([strata.setdefault((began[seen.unit], _split(seen)), len(strata)) for seen in dealt.kept], dtype=np.int64),
        successes=np.array([_is_known(seen, at) for seen in dealt.kept], dtype=bool),
    )
    is_success = np.array([seen.outcome in test.criteria.successes for seen in dealt.kept], dtype=bool)
    arrivals = np.array([seen.outcome_at.timestamp() if seen.outcome_at else np.inf for seen in dealt.kept], dtype=float)
    order = np.argsort(arrivals, kind="stable")
    order = order[served.successes[order]]
    outcomes = Trials(customers=served.customers, is_treatment=served.is_treatment, strata=served.strata, successes=is_success)
    return _Live(served=served, known=outcomes.take(order), arrivals=arrivals[order])


_Split = tuple[tuple[str, float], ...]


def _split(seen: Observation) -> _Split:
    return tuple(sorted(seen.weights.items()))


def _is_known(seen: Observation, at: datetime) -> bool:
    return seen.outcome is not None and seen.outcome_at is not None and seen.outcome_at <= at


def _compare(trials: Trials) -> Comparison | None:
    """None while there is nothing to compare."""
    try:
        return compare_rates(trials)
    except InsufficientData:
        return None


def _looks(live: _Live, criteria: ABTestCriteria, looks: int, at: datetime) -> Iterator[Look]:
    for end in _moments(live, criteria.min_customers, looks):
        comparison = _compare(live.known.take(slice(end)))
        if comparison is not None and _is_exposed(comparison, criteria):
            low, high = _interval(comparison, criteria)
            moment = at if end == len(live.arrivals) else datetime.fromtimestamp(float(live.arrivals[end - 1]), tz=at.tzinfo)
            yield Look(at=moment, customers=comparison.customers, mean=comparison.mean, low=low, high=high)


def _moments(live: _Live, min_customers: int, looks: int) -> Sequence[int]:
    """How many outcomes had arrived at each look; outcomes of the same moment arrive together."""
    _, firsts = np.unique(live.known.customers, return_index=True)
    of_treatment = live.known.is_treatment[firsts]
    arms = [np.sort(firsts[of_treatment]), np.sort(firsts[~of_treatment])]
    if min(map(len, arms)) < min_customers:
        return []
    enough = max(int(arm[min_customers - 1]) for arm in arms) + 1
    ends = np.linspace(enough, len(live.arrivals), looks).round().astype(int) if looks > 1 else np.array([len(live.arrivals)])
    together: Integers = np.searchsorted(live.arrivals, live.arrivals[ends - 1], side="right")
    return [int(end) for end in np.unique(together)]


def _is_exposed(comparison: Comparison, criteria: ABTestCriteria) -> bool:
    return min(comparison.control_customers, comparison.treatment_customers) >= criteria.min_customers


def _interval(comparison: Comparison, criteria: ABTestCriteria) -> tuple[float, float]:
    return sequence_interval(comparison, alpha=criteria.alpha, tightest_at=criteria.tightest_at)


def _arm(test: ABTest, subject: Subject, started: Sequence[Observation], dealt: _Dealt, at: datetime) -> Arm:
    kept = [seen for seen in dealt.kept if seen.variant == subject.name]
    known = [seen for seen in kept if _is_known(seen, at)]
    asked = [seen for seen in started if seen.variant == subject.name]
    return Arm(
        subject=subject,
        weight=test.weights.get(subject.name, 0.0),
        customers=sum(seen.variant == subject.name for seen in dealt.first.values()),
        conversations=len(kept),
        outcomes=len(known),
        successes=sum(seen.outcome in test.criteria.successes for seen in known),
        requests=sum(seen.requests for seen in asked),
        failures=sum(seen.failures for seen in asked),
    )


def _checks(test: ABTest, started: Sequence[Observation], dealt: _Dealt, live: _Live, present: Comparison | None) -> Iterator[Check]:
    criteria = test.criteria
    grounds = (
        _check_exposure(present, criteria),
        _check_sample_ratio(test, dealt),
        _check_outcomes(live.served, criteria),
    )
    yield from grounds
    yield _check_failures([seen for seen in started if seen.variant == test.treatment.name], criteria)
    is_grounded = all(ground.outcome == "passed" for ground in grounds)
    yield _check_gain(present if is_grounded else None, criteria)


def _check_exposure(present: Comparison | None, criteria: ABTestCriteria) -> Check:
    if present is None:
        statement = (
            f"At least {criteria.min_customers} customers with a known outcome decide, in each arm; "
            "no stretch of the test has 2 in both yet. Let it run."
        )
        return Check(name="exposure", outcome="inconclusive", statement=statement)
    statement = (
        f"{present.control_customers} customers of the control and {present.treatment_customers} of the treatment have a known outcome; "
        f"at least {criteria.min_customers} in each arm decide."
    )
    return Check(name="exposure", outcome="passed" if _is_exposed(present, criteria) else "inconclusive", statement=statement)


def _check_sample_ratio(test: ABTest, dealt: _Dealt) -> Check:
    is_treatment = np.array([seen.variant == test.treatment.name for seen in dealt.first.values()], dtype=bool)
    chances = np.array([_chance(test, seen.weights) for seen in dealt.first.values()], dtype=float)
    try:
        p_value = sample_ratio_p_value(is_treatment, chances)
    except InsufficientData as error:
        return Check(name="sample_ratio", outcome="inconclusive", statement=str(error))
    seen, dealt_share = f"{is_treatment.mean():.1%} of {len(chances)} customers", f"{chances.mean():.1%}"
    if p_value >= test.criteria.sample_ratio_alpha:
        statement = f"The treatment has {seen}, as dealt ({dealt_share}; p = {p_value:.3f})."
        return Check(name="sample_ratio", outcome="passed", statement=statement)
    statement = (
        f"The treatment must have the customers it was dealt; it has {seen} instead of {dealt_share} (p = {p_value:.1g}). "
        "Somebody is missing from one arm, so that the arms are not alike. Find the cause, then start a new test."
    )
    return Check(name="sample_ratio", outcome="inconclusive", statement=statement)


def _chance(test: ABTest, weights: Mapping[str, float]) -> float:
    """Of being dealt to the treatment, for a customer who was dealt to either arm."""
    control, treatment = weights.get(test.control.name, 0.0), weights.get(test.treatment.name, 0.0)
    return treatment / (control + treatment) if control + treatment else 0.0


def _check_outcomes(served: Trials, criteria: ABTestCriteria) -> Check:
    comparison = _compare(served)
    if comparison is None:
        statement = "Whether as many outcomes are known of either arm is judged from 2 customers in both; there are fewer. Let it run."
        return Check(name="outcomes", outcome="inconclusive", statement=statement)
    control, treatment = (f"{served.successes[side].mean():.1%}" for side in (~served.is_treatment, served.is_treatment))
    shares, p_value = f"{control} of the control's conversations and of {treatment} of the treatment's", comparison.p_value()
    if p_value >= criteria.missing_outcomes_alpha:
        statement = f"The outcome is known of {shares}, no more different than by chance (p = {p_value:.3f})."
        return Check(name="outcomes", outcome="passed", statement=statement)
    statement = (
        f"The outcome must be known equally often in both arms; it is known of {shares} (p = {p_value:.1g}). "
        "What is missing may differ too. Find out why outcomes do not arrive."
    )
    return Check(name="outcomes", outcome="inconclusive", statement=statement)


def _check_failures(asked: Sequence[Observation], criteria: ABTestCriteria) -> Check:
    """Failed when the limit is exceeded beyond chance; above the limit otherwise, it is not ruled out, which does not ship."""
    requests, failures = sum(seen.requests for seen in asked), sum(seen.failures for seen in asked)
    limit = f"at most {criteria.max_failure_share:.1%} may"
    if failures <= criteria.max_failure_share * requests:
        statement = f"The treatment failed {failures} of {requests} requests; {limit}."
        return Check(name="failures", outcome="passed", statement=statement)
    facts = f"The treatment failed {failures} of {requests} requests ({failures / requests:.1%}); {limit}."
    if requests >= _MIN_REQUESTS and _lowest_failure_share(asked) > criteria.max_failure_share:
        return Check(name="failures", outcome="failed", statement=f"{facts} Read its failures before it serves again.")
    return Check(name="failures", outcome="inconclusive", statement=f"{facts} So few may be chance; look at the failures.")


def _lowest_failure_share(asked: Sequence[Observation]) -> float:
    try:
        return ratio_estimate(
            [seen.failures for seen in asked],
            [seen.requests for seen in asked],
            [seen.unit for seen in asked],
            confidence=_FAILURES_CONFIDENCE,
        ).low
    except InsufficientData:
        return 0.0


def _check_gain(present: Comparison | None, criteria: ABTestCriteria) -> Check:
    """present: None where nothing may be concluded."""
    if present is None:
        statement = "The gain is judged once enough customers are seen, in arms as dealt, with outcomes known equally often."
        return Check(name="gain", outcome="inconclusive", statement=statement)
    difference = _estimate(present, criteria)
    outcome, conclusion = _conclude(difference, criteria)
    facts = (
        f"success_rate: change {difference.mean:+.3f} [{difference.low:+.3f}, {difference.high:+.3f}] (positive is better) "
        f"over {present.customers} customers; more than {criteria.minimal_gain:g} is needed, with the whole interval."
    )
    return Check(name="gain", outcome=outcome, statement=f"{facts} {conclusion}", difference=difference)


def _conclude(difference: Estimate, criteria: ABTestCriteria) -> tuple[CheckOutcome, str]:
    worth = max(criteria.gain_worth_finding, criteria.minimal_gain)
    if difference.low > criteria.minimal_gain:
        return "passed", "The treatment is better."
    if difference.high < 0:
        return "failed", "The treatment is worse."
    if difference.high < worth:
        return "failed", f"A gain of {worth:g} is ruled out, and a smaller one is not worth finding."
    if criteria.max_customers is not None and difference.clusters >= criteria.max_customers:
        return "failed", f"It is undecided, and the test was to end at {criteria.max_customers} customers."
    return "inconclusive", "It is neither proven nor ruled out yet. Let it run."


def _estimate(comparison: Comparison, criteria: ABTestCriteria) -> Estimate:
    low, high = _interval(comparison, criteria)
    boundary = mixture_boundary(comparison.even_customers, alpha=criteria.alpha, tightest_at=criteria.tightest_at)
    return Estimate(
        mean=comparison.mean,
        standard_error=comparison.standard_error(boundary),
        low=low,
        high=high,
        clusters=comparison.customers,
        confidence=1 - criteria.alpha,
    )
