"""A live test from its start to its end through the flows, on a log of what was served, without an endpoint."""

import threading
import time
from datetime import UTC, datetime

import pytest

from agentgym.ab_tests.ab_test import ABTestCriteria
from agentgym.ab_tests.test_log import ABTestLog
from agentgym.episode import Outcome
from agentgym.errors import InvalidInput, Refused
from agentgym.messages import assistant, user
from agentgym.registry import Lineage, ModelRegistry
from agentgym.serving.exposure_log import Exposure, ExposureLog, Feedback, record, record_feedback
from agentgym.serving.plan import Assignment
from agentgym.serving.steering import steer
from agentgym.serving.traffic_log import LoggedPlan, TrafficLog
from agentgym.settings import Settings
from agentgym.store import ArtifactRef
from agentgym.verdicts import Check, PromotionDecision, Subject
from flows.ab_test import ab_test, change_weights, conclude_ab_test, start_ab_test, stop_ab_test
from flows.rollback import rollback
from tasks.ab_tests import look_at_ab_test
from tasks.registry import open_registry, promote_tested_version

CHAMPION, CHALLENGER, OTHER = (Subject(name=name, checkpoint_digest=name.ljust(64, "0")) for name in "abc")
DECISION = PromotionDecision(
    evidence="play",
    primary_metric="tool_reliability",
    case_set_digest="c" * 64,
    challenger=CHALLENGER,
    champion=CHAMPION,
    challenger_report_digest="1" * 64,
    champion_report_digest="2" * 64,
    checks=(Check(name="gain", outcome="passed", statement="It is better."),),
    criteria={},
)
QUICK = ABTestCriteria(min_customers=20)


@pytest.fixture(autouse=True)
def registry(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> ModelRegistry:
    """Version 1 is champion, version 2 its challenger, version 3 nobody; version 1 has been served once."""
    monkeypatch.setenv("AGENTGYM_WORKSPACE", str(settings.workspace))
    registry = open_registry("agent", settings)
    for subject in (CHAMPION, CHALLENGER, OTHER):
        checkpoint = ArtifactRef(uri=f"file:///checkpoints/{subject.name}", digest=subject.checkpoint_digest)
        registry.register(checkpoint, lineage=Lineage(code_version="0.1.0"))
    registry.bootstrap(registry.version(1), "It imitates the agent of today.")
    registry.promote_challenger(DECISION)
    steer(registry, ABTestLog(settings.experience_url, "agent"), TrafficLog(settings.experience_url, "agent"), now=datetime.now(UTC))
    return registry


@pytest.fixture
def plan(settings: Settings) -> TrafficLog:
    return TrafficLog(settings.experience_url, "agent")


def latest(log: TrafficLog) -> LoggedPlan:
    found = log.latest()
    assert found is not None
    return found


def serve(settings: Settings, *, customers: int, success: dict[str, float]) -> None:
    """Conversations of new customers, dealt by the present plan; a version succeeds with exactly its share of them."""
    log, traffic = ExposureLog(settings.experience_url, "agent"), latest(TrafficLog(settings.experience_url, "agent")).plan
    served = dict.fromkeys(success, 0)
    with log.engine.begin() as connection:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        for number in range(customers):
            unit = f"{traffic.epoch}-{number}"
            variant = traffic.variant_for(unit, None)
            served[variant] += 1
            is_success = served[variant] * success[variant] % 1 >= 1 - success[variant] or success[variant] == 1
            exposure = Exposure(
                request_id=unit,
                asked="0" * 64,
                conversation_id=unit,
                agent="agent",
                unit=unit,
                customer_id=unit,
                assignment=Assignment(variant=variant, epoch=traffic.epoch),
                answered_by=variant,
                is_dealt=True,
                at=datetime.now(UTC),
                messages=(user("Hi"), assistant("Hello")),
                tools=(),
                tags={},
                agent_tokens=2,
                latency_seconds=0.1,
                body=b"{}",
            )
            record(connection, exposure)
            outcome = Outcome.RESOLVED if is_success else Outcome.UNRESOLVED
            record_feedback(connection, Feedback(conversation_id=unit, outcome=outcome), agent="agent", at=datetime.now(UTC))


def test_a_better_version_is_shipped_and_gets_all_the_traffic(registry: ModelRegistry, settings: Settings, plan: TrafficLog) -> None:
    start_ab_test(criteria=QUICK, salt="fixed")
    assert latest(plan).plan.allocation.weights == {"1": 0.5, "2": 0.5}
    assert conclude_ab_test().verdict == "keep_running"  # type: ignore[union-attr]
    serve(settings, customers=300, success={"1": 0.5, "2": 0.9})
    assert conclude_ab_test().verdict == "ship"  # type: ignore[union-attr]
    assert registry.resolve("@champion").version == 2
    assert latest(plan).plan.allocation.weights == {"2": 1.0}
    assert conclude_ab_test() is None
    report = registry.history()[-1].report
    assert report is not None
    assert report.treatment.successes / report.treatment.outcomes == pytest.approx(0.9, abs=0.02)


def test_a_worse_version_is_stopped_and_its_conversations_move(registry: ModelRegistry, settings: Settings, plan: TrafficLog) -> None:
    start_ab_test(criteria=QUICK, salt="fixed")
    serve(settings, customers=300, success={"1": 0.9, "2": 0.5})
    assert conclude_ab_test().verdict == "stop"  # type: ignore[union-attr]
    assert registry.resolve("@champion").version == 1
    assert latest(plan).plan.holds_from == latest(plan).plan.epoch


def test_a_process_that_died_between_promoting_and_ending_the_test_is_finished_by_the_next_look(
    registry: ModelRegistry, settings: Settings, plan: TrafficLog
) -> None:
    start_ab_test(criteria=QUICK, salt="fixed")
    serve(settings, customers=300, success={"1": 0.5, "2": 0.9})
    promote_tested_version("agent", look_at_ab_test("agent", settings).report, settings)
    time.sleep(0.01)
    assert conclude_ab_test().verdict == "ship"  # type: ignore[union-attr]
    assert [entry.change for entry in registry.history()] == ["bootstrap", "challenge", "promotion"]
    assert latest(plan).plan.allocation.weights == {"2": 1.0}
    _, ended = ABTestLog(settings.experience_url, "agent").latest()
    assert ended is not None
    assert not ended.is_running


def test_a_version_that_is_not_challenger_can_be_compared_but_not_shipped(registry: ModelRegistry, settings: Settings) -> None:
    start_ab_test(weights={"1": 0.5, "3": 0.5}, criteria=QUICK, salt="fixed")
    serve(settings, customers=300, success={"1": 0.5, "3": 0.9})
    with pytest.raises(Refused, match="challenger"):
        conclude_ab_test()
    assert registry.resolve("@champion").version == 1
    assert stop_ab_test().verdict == "ship"
    assert registry.resolve("@champion").version == 1


def test_a_ramp_changes_the_shares_of_the_running_test(plan: TrafficLog) -> None:
    start_ab_test(weights={"1": 0.9, "2": 0.1}, salt="fixed")
    change_weights({"@champion": 0.4, "@challenger": 0.6})
    assert latest(plan).plan.allocation.weights == {"1": 0.4, "2": 0.6}
    assert latest(plan).plan.allocation.salt == "fixed"


def test_a_rollback_calls_a_running_test_off(registry: ModelRegistry, settings: Settings, plan: TrafficLog) -> None:
    start_ab_test(criteria=QUICK, salt="fixed")
    serve(settings, customers=300, success={"1": 0.5, "2": 0.9})
    conclude_ab_test()
    start_ab_test(weights={"2": 0.5, "3": 0.5}, salt="another")
    rollback("Customers complain.")
    _, test = ABTestLog(settings.experience_url, "agent").latest()
    assert test is not None
    assert not test.is_running
    assert (latest(plan).plan.champion, latest(plan).plan.holds_from) == ("1", latest(plan).plan.epoch)


def test_a_test_runs_until_its_verdict(settings: Settings, registry: ModelRegistry, plan: TrafficLog) -> None:
    def serve_once_it_has_begun() -> None:
        while latest(plan).plan.test_id is None:
            time.sleep(0.05)
        serve(settings, customers=300, success={"1": 0.5, "2": 0.9})

    customers = threading.Thread(target=serve_once_it_has_begun)
    customers.start()
    review = ab_test(criteria=QUICK, look_every_seconds=0.2)
    customers.join()
    assert review is not None
    assert (review.verdict, registry.resolve("@champion").version) == ("ship", 2)


def test_one_test_runs_at_a_time(plan: TrafficLog) -> None:
    start_ab_test(salt="first")
    with pytest.raises(Refused, match="One test runs at a time"):
        start_ab_test(salt="second")
    assert latest(plan).plan.allocation.salt == "first"


@pytest.mark.parametrize(
    ("weights", "fact"),
    [
        ({"1": 0.5, "7": 0.5}, "has no version 7"),
        ({"2": 0.5, "3": 0.5}, "compares the champion, version 1, with one other"),
        ({"1": 1.0}, "compares the champion"),
        ({"1": 0.4, "2": 0.3, "3": 0.3}, "compares the champion"),
        ({"1": 0.9, "2": 0.2}, "must sum to 1"),
        ({"1": 1.5, "2": -0.5}, "finite and at least 0"),
    ],
)
def test_weights_that_make_no_test_are_refused_and_leave_no_trace(
    weights: dict[str, float], fact: str, settings: Settings, plan: TrafficLog
) -> None:
    with pytest.raises(InvalidInput, match=fact):
        start_ab_test(weights=weights)
    assert ABTestLog(settings.experience_url, "agent").latest() == (0, None)
    assert latest(plan).plan.epoch == 1


def test_without_a_test_there_is_nothing_to_conclude_ramp_or_stop() -> None:
    assert conclude_ab_test() is None
    with pytest.raises(InvalidInput, match="has had none"):
        change_weights({"1": 0.5, "2": 0.5})
    with pytest.raises(InvalidInput, match="must be a test to look at"):
        stop_ab_test()
