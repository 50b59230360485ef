"""The online gate on live conversations: who counts where, what is asked, and what is answered."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from math import sqrt
from typing import Any

import pytest

from agentgym.ab_tests.ab_test import ABTest, ABTestCriteria, Observation
from agentgym.ab_tests.analysis import analyze
from agentgym.episode import Outcome
from agentgym.verdicts import ABTestReport, Check, Subject

START = datetime(2025, 3, 3, 9, tzinfo=UTC)
LATER = START + timedelta(days=30)
EVEN = {"1": 0.5, "2": 0.5}
MOSTLY_CONTROL = {"1": 0.9, "2": 0.1}


def live_test(**criteria: Any) -> ABTest:
    control, treatment = (Subject(name=name, checkpoint_digest=name) for name in ("1", "2"))
    return ABTest(
        test_id="t1",
        agent="support",
        control=control,
        treatment=treatment,
        salt="t1",
        weights=EVEN,
        criteria=ABTestCriteria(**criteria),
        started_at=START,
    )


def seen(
    unit: str,
    variant: str,
    is_success: bool | None,
    *,
    minute: float = 0,
    weights: Mapping[str, float] = EVEN,
    failures: int = 0,
    delay: float = 5,
) -> Observation:
    """One conversation of 4 requests; its outcome is known `delay` minutes later, None for never."""
    started = START + timedelta(minutes=minute)
    return Observation(
        conversation_id=f"{unit}-{minute}",
        unit=unit,
        variant=variant,
        weights=weights,
        started_at=started,
        requests=4,
        failures=failures,
        outcome=None if is_success is None else Outcome.RESOLVED if is_success else Outcome.UNRESOLVED,
        outcome_at=None if is_success is None else started + timedelta(minutes=delay),
    )


def served(variant: str, right: int, wrong: int, unknown: int = 0, **each: Any) -> list[Observation]:
    """Customers with one conversation each, a minute apart, spread over success and failure as evenly as it goes."""
    known = right + wrong
    outcomes = [number * right // known < (number + 1) * right // known for number in range(known)] + [None] * unknown
    prefix = each.pop("prefix", "c")
    return [seen(f"{prefix}{variant}-{number}", variant, is_success, minute=number, **each) for number, is_success in enumerate(outcomes)]


def check(report: ABTestReport, name: str) -> Check:
    return next(check for check in report.checks if check.name == name)


def report_on(observations: Sequence[Observation], at: datetime = LATER, **criteria: Any) -> ABTestReport:
    return analyze(live_test(**criteria), observations, at=at)


# ---- What is concluded ----


def test_a_proven_gain_ships_and_keeps_every_reason() -> None:
    report = report_on(served("1", 240, 160) + served("2", 320, 80))
    assert report.verdict == "ship"
    assert [check.name for check in report.checks] == ["exposure", "sample_ratio", "outcomes", "failures", "gain"]
    gain = check(report, "gain")
    assert gain.difference is not None
    assert gain.difference.mean == pytest.approx(0.2)
    assert "change +0.200 [+0.10" in gain.statement
    assert gain.statement.endswith("over 800 customers; more than 0 is needed, with the whole interval. The treatment is better.")


def test_a_loss_stops() -> None:
    report = report_on(served("1", 320, 80) + served("2", 240, 160))
    assert report.verdict == "stop"
    assert check(report, "gain").statement.endswith("The treatment is worse.")


def test_a_gain_that_may_be_chance_keeps_running() -> None:
    report = report_on(served("1", 240, 160) + served("2", 250, 150))
    assert report.verdict == "keep_running"
    assert check(report, "gain").statement.endswith("It is neither proven nor ruled out yet. Let it run.")


def test_a_gain_that_cannot_be_worth_finding_stops() -> None:
    report = report_on(served("1", 240, 160) + served("2", 250, 150), gain_worth_finding=0.2)
    assert report.verdict == "stop"
    assert check(report, "gain").statement.endswith("A gain of 0.2 is ruled out, and a smaller one is not worth finding.")


def test_a_gain_below_the_minimal_one_stops_once_that_is_ruled_out() -> None:
    report = report_on(served("1", 240, 160) + served("2", 320, 80), minimal_gain=0.4)
    assert check(report, "gain").statement.endswith("A gain of 0.4 is ruled out, and a smaller one is not worth finding.")


def test_a_test_that_reached_its_last_customer_undecided_stops() -> None:
    report = report_on(served("1", 240, 160) + served("2", 250, 150), max_customers=800)
    assert report.verdict == "stop"
    assert check(report, "gain").statement.endswith("It is undecided, and the test was to end at 800 customers.")


def test_the_conclusion_is_that_of_the_last_look() -> None:
    report = report_on(served("1", 240, 160) + served("2", 320, 80))
    difference, last = check(report, "gain").difference, report.sequence[-1]
    assert difference is not None
    assert (last.at, last.customers) == (LATER, 800)
    assert (last.mean, last.low, last.high) == (difference.mean, difference.low, difference.high)


def test_the_criteria_say_which_outcomes_are_successes() -> None:
    report = report_on(served("1", 60, 60) + served("2", 120, 0), successes=(Outcome.UNRESOLVED, Outcome.RESOLVED))
    assert report.control.success_rate == report.treatment.success_rate == 1
    assert report.sequence[-1].mean == 0


def test_an_escalation_counts_as_wanted_unless_told_otherwise() -> None:
    conversation = seen("a", "1", True)
    escalated = Observation(**{name: getattr(conversation, name) for name in conversation.__slots__} | {"outcome": Outcome.ESCALATED})
    assert report_on([escalated]).control.successes == 1


def test_arms_say_what_they_served() -> None:
    report = report_on(served("1", 6, 4) + served("2", 3, 1, unknown=2, failures=1))
    assert report.control.model_dump(exclude={"subject"}) == {
        "weight": 0.5,
        "customers": 10,
        "conversations": 10,
        "outcomes": 10,
        "successes": 6,
        "requests": 40,
        "failures": 0,
    }
    assert report.treatment.subject.name == "2"
    assert (report.treatment.conversations, report.treatment.outcomes, report.treatment.failures) == (6, 4, 6)


# ---- Who counts, and where ----


def test_a_customer_with_many_conversations_is_one_customer() -> None:
    """The same 110 + 110 customers, once or each ten times with the same outcome: the interval is no narrower for it."""
    once = served("1", 60, 50) + served("2", 90, 20)
    often = [
        seen(one.unit, one.variant, one.outcome == Outcome.RESOLVED, minute=number + turn * 1000)
        for turn in range(10)
        for number, one in enumerate(once)
    ]
    first, repeated = check(report_on(once), "gain").difference, check(report_on(often), "gain").difference
    assert first is not None
    assert repeated is not None
    assert repeated.clusters == first.clusters == 220
    assert (repeated.low, repeated.high) == pytest.approx((first.low, first.high))


def test_a_customer_belongs_to_the_variant_met_first() -> None:
    moved = [seen("moved", "1", True, minute=0, weights=MOSTLY_CONTROL), seen("moved", "2", False, minute=900)]
    report = report_on(served("1", 3, 2) + served("2", 3, 2) + moved)
    assert report.crossovers == 1
    assert (report.control.customers, report.control.conversations, report.control.successes) == (6, 6, 4)
    assert (report.treatment.customers, report.treatment.conversations) == (5, 5)


def test_the_order_of_the_observations_does_not_matter() -> None:
    observations = [*served("1", 70, 50), *served("2", 80, 40), seen("moved", "2", True, minute=1), seen("moved", "1", True, minute=2)]
    assert report_on(observations[::-1]) == report_on(observations)


def test_a_failure_on_the_treatment_counts_whoever_met_it() -> None:
    moved = [seen("moved", "1", True, minute=0), seen("moved", "2", None, minute=900, failures=3)]
    assert report_on(moved).treatment.failures == 3


def test_other_variants_are_ignored() -> None:
    three = {"1": 0.4, "2": 0.4, "3": 0.2}
    arms = served("1", 70, 50, weights=three) + served("2", 80, 40, weights=three)
    strangers = [*served("3", 5, 95, weights=three), seen("stranger", "3", True, minute=1), seen("stranger", "2", False, minute=2)]
    strangers.append(seen("c1-0", "3", False, minute=3))
    alone, beside = report_on(arms), report_on(arms + strangers)
    assert (beside.crossovers, beside.treatment.customers) == (0, 120)
    assert beside.sequence == alone.sequence
    assert check(beside, "sample_ratio") == check(alone, "sample_ratio")
    assert "50.0% of 240 customers, as dealt (50.0%;" in check(alone, "sample_ratio").statement


def test_a_ramp_with_a_trend_in_time_is_no_effect() -> None:
    """Both have half of their customers satisfied while the split is 9 : 1, and nine of ten once it is even."""
    before = served("1", 450, 450, weights=MOSTLY_CONTROL) + served("2", 50, 50, weights=MOSTLY_CONTROL)
    after = served("1", 180, 20, prefix="d") + served("2", 180, 20, prefix="d")
    report = report_on(before + after)
    assert report.treatment.success_rate == pytest.approx(230 / 300)
    assert report.control.success_rate == pytest.approx(630 / 1100)
    assert report.sequence[-1].mean == pytest.approx(0)


def test_customers_who_came_back_are_not_compared_with_new_ones() -> None:
    """After a ramp the control keeps more old customers, who are always satisfied; new ones never are. That is no harm of the treatment."""
    old = served("1", 90, 0, weights=MOSTLY_CONTROL) + served("2", 10, 0, weights=MOSTLY_CONTROL)
    returned = [seen(one.unit, one.variant, True, minute=2000) for one in old]
    new = served("1", 0, 50, prefix="n") + served("2", 0, 50, prefix="n")
    assert report_on(old + returned + new, min_customers=2).sequence[-1].mean == pytest.approx(0)


def test_what_happened_later_is_not_known_yet() -> None:
    observations = served("1", 60, 40, delay=600) + served("2", 60, 40, delay=600)
    early = report_on(observations, at=START + timedelta(minutes=650))
    # Conversations 0 to 50 of each arm began at least 600 minutes ago; all of them had begun by minute 99.
    assert (early.control.outcomes, early.treatment.outcomes) == (51, 51)
    assert early.control.conversations == 100
    assert report_on(observations, at=START + timedelta(minutes=9.5)).control.conversations == 10


def test_late_outcomes_enter_the_sequence_when_they_arrive() -> None:
    """The treatment's first conversation is told of last; the looks before are without it."""
    observations = [*served("1", 4, 4), *served("2", 4, 4), seen("late", "2", True, minute=-1, delay=5000)]
    sequence = report_on(observations, min_customers=2).sequence
    assert [look.customers for look in sequence[-2:]] == [16, 17]
    assert sequence[-2].at == START + timedelta(minutes=7 + 5)


# ---- The sequence ----


def test_looks_begin_when_both_arms_have_enough_customers() -> None:
    report = report_on(served("1", 150, 100) + served("2", 150, 100))
    assert report.sequence[0].customers == 200
    assert len(report.sequence) == 50
    assert [look.at for look in report.sequence] == sorted(look.at for look in report.sequence)


def test_a_sequence_has_as_many_looks_as_asked_for() -> None:
    observations = served("1", 150, 100) + served("2", 150, 100)
    sequences = [analyze(live_test(), observations, at=LATER, looks=looks).sequence for looks in (1, 2, 7)]
    assert [len(sequence) for sequence in sequences] == [1, 2, 7]
    assert {sequence[-1].customers for sequence in sequences} == {500}


def test_outcomes_of_the_same_moment_arrive_together() -> None:
    observations = [seen(f"{variant}-{number}", variant, number % 2 == 0) for variant in "12" for number in range(120)]
    assert [look.customers for look in report_on(observations).sequence] == [240]


def test_one_look_less_changes_no_other_look() -> None:
    """A look rests on what was known then: the report of an earlier day ends with the same difference."""
    observations = served("1", 150, 100) + served("2", 180, 70)
    middle = report_on(observations).sequence[20]
    then = report_on(observations, at=middle.at).sequence[-1]
    assert (then.customers, then.mean, then.low, then.high) == (middle.customers, middle.mean, middle.low, middle.high)


# ---- What blocks a conclusion ----


def test_no_observations_are_a_report_that_keeps_running() -> None:
    report = report_on([])
    assert report.verdict == "keep_running"
    assert (report.sequence, report.control.success_rate) == ((), None)
    assert check(report, "exposure").statement == (
        "At least 100 customers with a known outcome decide, in each arm; no stretch of the test has 2 in both yet. Let it run."
    )
    assert "Wait for more customers" in check(report, "sample_ratio").statement
    assert "judged from 2 customers in both; there are fewer" in check(report, "outcomes").statement
    assert check(report, "gain").statement.startswith("The gain is judged once enough customers are seen, in arms as dealt")
    assert check(report, "failures").statement == "The treatment failed 0 of 0 requests; at most 2.0% may."


def test_few_customers_decide_nothing() -> None:
    report = report_on(served("1", 10, 89) + served("2", 99, 0))
    assert report.verdict == "keep_running"
    assert check(report, "exposure").statement == (
        "99 customers of the control and 99 of the treatment have a known outcome; at least 100 in each arm decide."
    )
    assert check(report, "gain").outcome == "inconclusive"


def test_customers_without_a_counterpart_decide_nothing() -> None:
    """Nearly all of the control came before the treatment was served at all."""
    before = served("1", 200, 200, weights={"1": 1.0, "2": 0.0})
    report = report_on(before + served("1", 5, 0, prefix="d") + served("2", 300, 100))
    assert check(report, "exposure").statement.startswith("5 customers of the control and 400 of the treatment")
    assert (check(report, "exposure").outcome, report.sequence) == ("inconclusive", ())


def test_a_sample_ratio_mismatch_never_ships() -> None:
    # 400 of 910 where 455 ± √(910 / 4) were expected: z = 55 / 15.1 = 3.65, p = 0.0003.
    report = report_on(served("1", 255, 255) + served("2", 380, 20))
    ratio = check(report, "sample_ratio")
    assert (ratio.outcome, report.verdict) == ("inconclusive", "keep_running")
    assert ratio.statement.startswith(
        "The treatment must have the customers it was dealt; it has 44.0% of 910 customers instead of 50.0% (p = 0.0003)."
    )
    assert ratio.statement.endswith("Find the cause, then start a new test.")
    assert check(report, "gain").outcome == "inconclusive"


def test_a_ramp_is_no_sample_ratio_mismatch() -> None:
    before = served("1", 450, 450, weights=MOSTLY_CONTROL) + served("2", 50, 50, weights=MOSTLY_CONTROL)
    report = report_on(before + served("1", 180, 20, prefix="d") + served("2", 180, 20, prefix="d"))
    assert check(report, "sample_ratio").statement == "The treatment has 21.4% of 1400 customers, as dealt (21.4%; p = 1.000)."


def test_outcomes_that_are_missing_from_one_arm_block() -> None:
    report = report_on(served("1", 200, 200) + served("2", 250, 50, unknown=100))
    outcomes = check(report, "outcomes")
    assert (outcomes.outcome, check(report, "gain").outcome) == ("inconclusive", "inconclusive")
    assert "it is known of 100.0% of the control's conversations and of 75.0% of the treatment's (p = " in outcomes.statement
    assert outcomes.statement.endswith("Find out why outcomes do not arrive.")


def test_outcomes_missing_from_both_arms_alike_do_not_block() -> None:
    report = report_on(served("1", 150, 150, unknown=102) + served("2", 150, 150, unknown=98))
    assert check(report, "outcomes").outcome == "passed"
    assert "The outcome is known of 74.6% of the control's" in check(report, "outcomes").statement


def test_one_customer_who_never_tells_is_not_many() -> None:
    """60 conversations without an outcome, all of one customer: unclustered, z would be above 4."""
    silent = [seen("silent", "2", None, minute=number) for number in range(60)]
    report = report_on(served("1", 100, 100) + served("2", 100, 100) + silent)
    naive = (60 / 260) / sqrt((60 / 460) * (400 / 460) * (1 / 200 + 1 / 260))
    assert naive > 4
    assert check(report, "outcomes").outcome == "passed"


# ---- Failures of the treatment ----


def test_a_treatment_that_fails_too_often_is_stopped_before_it_is_judged() -> None:
    # 20 customers, 20 of 80 requests.
    report = report_on(served("1", 10, 10) + served("2", 10, 10, failures=1))
    assert report.verdict == "stop"
    assert check(report, "failures").statement == (
        "The treatment failed 20 of 80 requests (25.0%); at most 2.0% may. Read its failures before it serves again."
    )


def test_the_failures_of_the_control_stop_nothing() -> None:
    assert check(report_on(served("1", 10, 10, failures=4) + served("2", 10, 10)), "failures").outcome == "passed"


@pytest.mark.parametrize("customers", [1, 12])
def test_a_treatment_is_not_stopped_by_its_first_requests(customers: int) -> None:
    """Up to 48 requests, all failed."""
    report = report_on(served("2", customers, 0, failures=4))
    assert check(report, "failures").outcome == "inconclusive"
    assert check(report, "failures").statement.endswith("So few may be chance; look at the failures.")


def test_failures_that_may_be_chance_neither_stop_nor_ship() -> None:
    """10 of 400 requests where 8 may fail: everything else speaks for shipping."""
    treatment = served("2", 90, 0) + served("2", 10, 0, failures=1, prefix="f")
    report = report_on(served("1", 50, 50) + treatment)
    assert check(report, "gain").outcome == "passed"
    assert (check(report, "failures").outcome, report.verdict) == ("inconclusive", "keep_running")


def test_the_failures_of_one_customer_stop_nothing() -> None:
    """A client that repeats one broken request 100 times, alone or among 100 customers without a failure."""
    broken = [seen("broken", "2", None, minute=number, failures=4) for number in range(25)]
    report = report_on(served("1", 50, 50) + served("2", 50, 50) + broken)
    assert report.treatment.failures / report.treatment.requests == pytest.approx(0.2)
    assert check(report, "failures").outcome == check(report_on(broken), "failures").outcome == "inconclusive"
