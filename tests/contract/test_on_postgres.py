"""The same stores on a real Postgres, as a cluster has them: what SQLite lets through, Postgres may not."""

from concurrent.futures import wait
from datetime import UTC, datetime

import pytest

from agentgym.ab_tests.ab_test import ABTest
from agentgym.ab_tests.test_log import ABTestLog
from agentgym.errors import Unavailable
from agentgym.messages import assistant, user
from agentgym.registry.ledger import Ledger, Pointer, Standing
from agentgym.serving.api_keys import ApiKeys, digest_of
from agentgym.serving.exposure_log import LOCK, Exposure, ExposureLog, Feedback, record, record_feedback
from agentgym.serving.group_commit import GroupCommit
from agentgym.serving.plan import Assignment, TrafficPlan
from agentgym.serving.served import served_traces
from agentgym.serving.traffic import Allocation
from agentgym.serving.traffic_log import TrafficLog
from agentgym.store import ArtifactRef
from agentgym.verdicts import Subject

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def url(postgres_url: str) -> str:
    return postgres_url


def exposure(number: int, *, is_failure: bool = False) -> Exposure:
    return Exposure(
        request_id=f"r{number}",
        asked="0" * 64,
        conversation_id=f"c{number % 10}",
        agent="support",
        unit="ann",
        customer_id="ann",
        assignment=Assignment(variant="1", epoch=1),
        answered_by="1",
        is_dealt=True,
        at=NOW,
        messages=(user("Hi"), assistant("Hello")),
        tools=(),
        tags={"queue": "billing"},
        agent_tokens=2,
        latency_seconds=0.5,
        body=None if is_failure else b"{}",
    )


def test_exposures_and_outcomes_are_kept_and_joined(url: str) -> None:
    log = ExposureLog(url, "support")
    commit = GroupCommit(log.engine, lock_name=LOCK, what="The log")
    futures = [
        commit.submit(lambda connection, number=number: record(connection, exposure(number, is_failure=number == 29)))
        for number in range(30)
    ]
    wait(futures)
    told = Feedback(conversation_id="c1", outcome="resolved", score=4)
    assert commit.submit(lambda connection: record_feedback(connection, told, agent="support", at=NOW)).result(timeout=10) == "recorded"
    commit.close()
    rows = {row.conversation_id: row for row in log.rows()}
    assert len(rows) == len(list(log.dealt_rows([1]))) == 10
    assert (rows["c9"].requests, rows["c9"].failures, rows["c1"].outcome) == (3, 1, "resolved")
    assert log.answer_to("r3").body == b"{}"  # type: ignore[union-attr]
    assert log.assignment_of("c1") == Assignment(variant="1", epoch=1)
    assert {trace.conversation_id: trace for trace in served_traces(log)}["c1"].satisfaction_score == 4


def test_plans_get_their_epochs_one_after_the_other(url: str) -> None:
    log = TrafficLog(url, "support")

    def plan(epoch: int) -> TrafficPlan:
        ref = ArtifactRef(uri="file:///1", digest="1" * 64)
        return TrafficPlan(
            agent="support", epoch=epoch, champion="1", allocation=Allocation(weights={"1": 1.0}), versions={"1": ref}, reason="a test"
        )

    assert [log.append(plan(epoch), at=NOW) for epoch in (1, 2, 2, 3)] == [True, True, False, True]
    log.settle(3, "held", at=NOW)
    log.sign_in("http://127.0.0.1:8000", at=NOW)
    assert [logged.state for logged in log.plans()] == ["pending", "pending", "held"]
    assert log.endpoint().seen_at == NOW  # type: ignore[union-attr]


def test_keys_tests_and_the_history_of_champions_are_kept(url: str) -> None:
    keys = ApiKeys(url)
    key = keys.create("web", now=NOW)
    assert keys.digests_in_use() == {digest_of(key)}
    subjects = [Subject(name=name, checkpoint_digest=name * 64) for name in "12"]
    tests = ABTestLog(url, "support")
    weights = {"1": 0.5, "2": 0.5}
    tests.start(
        ABTest(test_id="t1", agent="support", control=subjects[0], treatment=subjects[1], salt="t1", weights=weights, started_at=NOW)
    )
    assert tests.running().test_id == "t1"
    ledger = Ledger(url, "support")
    with ledger.locked() as locked:
        locked.append("bootstrap", Standing(champion=Pointer(version=1, checkpoint_digest="1" * 64)), "The first.", at=NOW)
    assert ledger.sequence() == 1


def test_a_postgres_that_is_away_is_unavailable() -> None:
    with pytest.raises(Unavailable, match="The log of what was served must be readable"):
        ExposureLog("postgresql+psycopg://agentgym@127.0.0.1:9/postgres", "support")
