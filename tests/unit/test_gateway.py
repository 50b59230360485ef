"""One replica's work over HTTP, in the process: keys, split, what is kept, and what is told when something is wrong."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from agentgym.serving.api_keys import ApiKeys
from agentgym.serving.endpoint import build_endpoint
from agentgym.serving.exposure_log import ExposureLog
from agentgym.serving.gateway import Gateway
from agentgym.serving.plan import TrafficPlan
from agentgym.serving.served import served_traces
from agentgym.serving.traffic import Allocation
from agentgym.store import ArtifactRef

HELLO = [{"role": "user", "content": "Hello"}]
Asking = Callable[[httpx.AsyncClient, Gateway], Coroutine[Any, Any, None]]


def plan(weights: Mapping[str, float], *, epoch: int = 1, holds_from: int = 0, held: str = "12") -> TrafficPlan:
    versions = {name: ArtifactRef(uri=name, digest=name * 64) for name in held}
    return TrafficPlan(
        agent="support",
        epoch=epoch,
        champion="1",
        allocation=Allocation(weights=weights),
        versions=versions,
        holds_from=holds_from,
        reason="a test",
    )


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'experience.db'}"


@pytest.fixture
def ask(url: str, cage: Any) -> Callable[[Asking], None]:
    """Runs a conversation with an endpoint whose champion is version 1."""
    key = ApiKeys(url).create("test", now=datetime.now(UTC))

    def run(asking: Asking, *, weights: Mapping[str, float] | None = None) -> None:
        async def with_endpoint() -> None:
            gateway = Gateway("support", url, cage.load, clock=lambda: datetime.now(UTC))
            await gateway.follow(plan(weights or {"1": 1.0}))
            transport = httpx.ASGITransport(app=build_endpoint(lambda: gateway, max_body_bytes=10_000))
            headers = {"Authorization": f"Bearer {key}"}
            async with httpx.AsyncClient(transport=transport, base_url="http://endpoint", headers=headers) as client:
                await asking(client, gateway)

        asyncio.run(with_endpoint())

    return run


async def chat(client: httpx.AsyncClient, words: str = "Hello", headers: Mapping[str, str] | None = None, **fields: Any) -> httpx.Response:
    body = {"model": "support", "messages": [{"role": "user", "content": words}], **fields}
    return await client.post("/v1/chat/completions", json=body, headers=dict(headers or {}))


def test_an_answer_names_its_version_and_its_conversation(ask):
    async def asking(client, gateway):
        answer = await chat(client)
        assert answer.json()["choices"][0]["message"]["content"] == "1: Hello"
        assert (answer.json()["version"], answer.headers["x-agentgym-version"]) == ("1", "1")
        assert answer.json()["conversation_id"] == answer.headers["x-conversation-id"]

    ask(asking)


@pytest.mark.parametrize(("sent", "code"), [({}, "missing_api_key"), ({"Authorization": "Bearer ag-wrong"}, "invalid_api_key")])
def test_without_a_key_in_use_nothing_is_answered(ask, sent, code):
    async def asking(client, gateway):
        client.headers.pop("Authorization")
        for path in ("/v1/chat/completions", "/v1/feedback"):
            refused = await client.post(path, json={}, headers=sent)
            assert (refused.status_code, refused.json()["error"]["code"]) == (401, code)

    ask(asking)


def test_a_customer_stays_with_a_version_over_conversations(ask):
    async def asking(client, gateway):
        versions = {(await chat(client, user="ann")).json()["version"] for _ in range(5)}
        assert len(versions) == 1

    ask(asking, weights={"1": 0.5, "2": 0.5})


def test_a_ramp_lets_an_open_conversation_finish_where_it_began(ask):
    async def asking(client, gateway):
        await chat(client, conversation_id="c1")
        await gateway.follow(plan({"1": 0.0, "2": 1.0}, epoch=2))
        assert (await chat(client, conversation_id="c1")).json()["version"] == "1"
        assert (await chat(client, conversation_id="c2")).json()["version"] == "2"

    ask(asking)


def test_a_rollback_moves_open_conversations_at_once_and_they_stay_there(ask):
    async def asking(client, gateway):
        await chat(client, conversation_id="c1")
        await gateway.follow(plan({"1": 1.0}, epoch=2, holds_from=2))
        assert (await chat(client, conversation_id="c1")).json()["version"] == "1"
        await gateway.follow(plan({"2": 1.0}, epoch=3, holds_from=2))
        assert (await chat(client, conversation_id="c1")).json()["version"] == "1"

    ask(asking, weights={"2": 1.0})


def test_another_replica_finds_the_version_that_holds_a_conversation(ask, url, cage):
    async def asking(client, gateway):
        await chat(client, conversation_id="c1")
        other = Gateway("support", url, cage.load, clock=lambda: datetime.now(UTC))
        await other.follow(plan({"1": 0.0, "2": 1.0}, epoch=2))
        body = b'{"model": "support", "messages": [{"role": "user", "content": "again"}], "conversation_id": "c1"}'
        assert (await other.chat(body, {})).variant == "1"

    ask(asking)


def test_a_replica_that_is_behind_waits_for_the_plan_that_dealt_the_conversation(ask, url, cage):
    async def asking(client, gateway):
        ahead = Gateway("support", url, cage.load, clock=lambda: datetime.now(UTC))
        await ahead.follow(plan({"3": 1.0}, epoch=2, held="13"))
        body = b'{"model": "support", "messages": [{"role": "user", "content": "again"}], "conversation_id": "c1"}'
        await ahead.chat(body, {})
        waiting = asyncio.ensure_future(chat(client, conversation_id="c1"))
        await asyncio.sleep(0)
        await gateway.follow(plan({"3": 1.0}, epoch=2, held="13"))
        assert (await waiting).json()["version"] == "3"

    ask(asking)


def test_an_older_plan_that_arrives_late_changes_nothing(ask):
    async def asking(client, gateway):
        await gateway.follow(plan({"2": 1.0}, epoch=3))
        await gateway.follow(plan({"1": 1.0}, epoch=2))
        assert gateway.state.epoch == 3

    ask(asking)


def test_a_version_that_does_not_load_leaves_the_old_one_serving(ask):
    async def asking(client, gateway):
        await gateway.follow(plan({"9": 1.0}, epoch=2, held="19"))
        assert (gateway.state.epoch, gateway.state.refused_epoch) == (1, 2)
        assert "must be whole" in gateway.state.problem
        assert (await chat(client)).json()["version"] == "1"

    ask(asking)


def test_a_version_that_serves_nobody_may_be_broken_without_stopping_a_rollback(ask):
    """A test of a version that does not load once blocked every later plan, rollbacks included."""

    async def asking(client, gateway):
        await gateway.follow(plan({"1": 1.0}, epoch=3, held="19"))
        assert (gateway.state.epoch, gateway.state.refused_epoch) == (3, None)
        assert "version 9: InvalidInput" in gateway.state.problem
        assert (await chat(client)).json()["version"] == "1"
        assert (await chat(client, model="support:9")).status_code == 404

    ask(asking, weights={"2": 1.0})


def test_a_version_that_did_not_load_is_tried_again(ask, cage, monkeypatch):
    monkeypatch.setattr("agentgym.serving.gateway._RETRY_SECONDS", 0.01)

    async def asking(client, gateway):
        await gateway.follow(plan({"9": 1.0}, epoch=2, held="19"))
        assert gateway.state.refused_epoch == 2
        cage.broken.clear()
        async with asyncio.timeout(5):
            while gateway.state.epoch != 2:
                await asyncio.sleep(0.01)
        assert (await chat(client)).json()["version"] == "9"

    ask(asking)


def test_a_conversation_that_a_rollback_left_in_place_stays_there_through_the_next_ramp(ask):
    """It once kept its old epoch, and was dealt anew with every request."""

    async def asking(client, gateway):
        await chat(client, conversation_id="c1")
        await gateway.follow(plan({"1": 1.0}, epoch=2, holds_from=2))
        assert (await chat(client, conversation_id="c1")).json()["version"] == "1"
        await gateway.follow(plan({"2": 1.0}, epoch=3, holds_from=2))
        assert (await chat(client, conversation_id="c1")).json()["version"] == "1"

    ask(asking)


def test_a_replica_learns_that_another_one_has_moved_a_conversation(ask, url, cage):
    async def asking(client, gateway):
        await chat(client, conversation_id="c1")
        other = Gateway("support", url, cage.load, clock=lambda: datetime.now(UTC))
        await other.follow(plan({"2": 1.0}, epoch=2, holds_from=2))
        body = b'{"model": "support", "messages": [{"role": "user", "content": "again"}], "conversation_id": "c1"}'
        assert (await other.chat(body, {})).variant == "2"
        await gateway.follow(plan({"1": 1.0}, epoch=3, holds_from=2))
        assert (await chat(client, conversation_id="c1")).json()["version"] == "2"

    ask(asking)


def test_a_client_that_hangs_up_stops_nobody_else(ask):
    async def asking(client, gateway):
        await chat(client, conversation_id="c1")
        told = [asyncio.ensure_future(client.post("/v1/feedback", json={"conversation_id": "c1", "score": 3})) for _ in range(5)]
        await asyncio.sleep(0)
        for request in told[:4]:
            request.cancel()
        assert (await told[4]).status_code == 200
        assert (await chat(client)).status_code == 200
        assert gateway.is_alive

    ask(asking)


def test_a_key_of_another_request_is_not_answered_with_that_ones_answer(ask):
    async def asking(client, gateway):
        await chat(client, headers={"Idempotency-Key": "r1"}, user="ann")
        other = await chat(client, headers={"Idempotency-Key": "r1"}, user="bob")
        assert (other.status_code, other.json()["error"]["code"]) == (422, "idempotency_mismatch")

    ask(asking)


def test_a_request_that_failed_and_is_tried_again_is_one_conversation(ask, url, cage, monkeypatch):
    async def asking(client, gateway):
        parrot = type(cage.parrots["1"])
        acts = parrot.act_batch
        monkeypatch.setattr(parrot, "act_batch", lambda *_, **__: 1 / 0)
        assert (await chat(client, headers={"Idempotency-Key": "r1"})).status_code == 500
        monkeypatch.setattr(parrot, "act_batch", acts)
        assert (await chat(client, headers={"Idempotency-Key": "r1"})).status_code == 200

    ask(asking)
    (row,) = ExposureLog(url, "support").rows()
    assert (row.requests, row.failures) == (2, 1)


def test_what_a_named_version_does_is_not_charged_to_the_one_a_conversation_began_with(ask, url):
    async def asking(client, gateway):
        await chat(client, conversation_id="c1")
        await chat(client, conversation_id="c1", model="support:2", words="a pear")
        assert (await chat(client, conversation_id="c1")).json()["version"] == "1"

    ask(asking)
    (row,) = ExposureLog(url, "support").rows()
    assert (row.variant, row.requests, row.failures, row.is_dealt) == ("1", 2, 0, False)


def test_two_customers_who_say_the_same_are_not_mixed_up(ask):
    async def asking(client, gateway):
        first, other = [(await chat(client)).json()["conversation_id"] for _ in range(2)]
        said = {"role": "assistant", "content": "1: Hello"}
        again = (await chat(client, messages=[*HELLO, said, {"role": "user", "content": "And now?"}])).json()
        assert again["conversation_id"] not in (first, other)

    ask(asking)


def test_a_database_that_is_away_is_told_without_saying_where_it_is(ask, url):
    async def asking(client, gateway):
        await chat(client)
        path = Path(url.removeprefix("sqlite:///"))
        gateway._log.engine.dispose()
        path.rename(path.with_suffix(".away"))
        path.mkdir()
        failed = await client.post("/v1/feedback", json={"conversation_id": "c1", "score": 3})
        assert failed.status_code == 503
        assert str(path) not in failed.text

    ask(asking)


@pytest.mark.parametrize("depth", [300, 1000])
def test_a_body_that_nests_without_end_is_refused(ask, depth):
    async def asking(client, gateway):
        nested = "[" * depth + "]" * depth
        for body in (f'{{"model": {nested}}}', f'{{"model": "support", "messages": [{{"role": "tool", "content": {nested}}}]}}'):
            refused = await client.post("/v1/chat/completions", content=body)
            assert refused.status_code == 400
            assert len(refused.text) < 2000

    ask(asking)


def test_a_repeated_request_gets_the_same_answer_and_is_kept_once(ask, cage, url):
    async def asking(client, gateway):
        answers = [await chat(client, headers={"Idempotency-Key": "r1"}, user="ann") for _ in range(2)]
        assert answers[0].json() == answers[1].json()

    ask(asking)
    assert cage.parrots["1"].acted == 1
    assert len(list(ExposureLog(url, "support").rows())) == 1


def test_a_request_repeated_while_it_is_answered_waits_for_that_answer(ask, cage):
    async def asking(client, gateway):
        answers = await asyncio.gather(*(chat(client, headers={"Idempotency-Key": "r1"}) for _ in range(4)))
        assert len({answer.text for answer in answers}) == 1

    ask(asking)
    assert cage.parrots["1"].acted == 1


def test_a_conversation_continued_without_its_id_is_recognised(ask):
    async def asking(client, gateway):
        first = (await chat(client, user="ann")).json()
        said = {"role": "assistant", "content": first["choices"][0]["message"]["content"]}
        messages = [*HELLO, said, {"role": "user", "content": "And now?"}]
        again = (await chat(client, user="ann", messages=messages)).json()
        assert again["conversation_id"] == first["conversation_id"]

    ask(asking)


def test_a_version_can_be_asked_for_by_name_and_does_not_count_for_the_split(ask, url):
    async def asking(client, gateway):
        assert (await chat(client, model="support:2")).json()["version"] == "2"

    ask(asking)
    assert not list(ExposureLog(url, "support").dealt_rows([1]))


@pytest.mark.parametrize("model", ["other", "support:7", "support:1:2"])
def test_an_unknown_model_is_not_found_and_the_known_ones_are_named(ask, model):
    async def asking(client, gateway):
        refused = await chat(client, model=model)
        assert (refused.status_code, refused.json()["error"]["code"]) == (404, "model_not_found")
        assert "Served: support, support:1, support:2" in refused.json()["error"]["message"]

    ask(asking)


def test_a_policy_that_fails_is_a_failure_and_keeps_the_customers_words_to_itself(ask, url):
    async def asking(client, gateway):
        failed = await chat(client, words="a pear", conversation_id="c1")
        assert (failed.status_code, failed.json()["error"]["code"]) == (500, "version_failed")
        assert "Ann" not in failed.text

    ask(asking)
    (row,) = ExposureLog(url, "support").rows()
    assert (row.requests, row.failures) == (1, 1)


def test_one_bad_conversation_of_a_batch_fails_alone(ask):
    async def asking(client, gateway):
        answers = await asyncio.gather(*(chat(client, words=words) for words in ("apple", "pear", "plum")))
        assert [answer.status_code for answer in answers] == [200, 500, 200]

    ask(asking)


def test_a_body_that_is_too_large_is_refused(ask):
    async def asking(client, gateway):
        refused = await chat(client, words="x" * 20_000)
        assert (refused.status_code, refused.json()["error"]["code"]) == (413, "request_too_large")

    ask(asking)


def test_what_is_no_route_is_told_in_the_same_form(ask):
    async def asking(client, gateway):
        assert (await client.get("/v2/nothing")).json()["error"]["code"] == "not_found"
        assert (await client.get("/v1/chat/completions")).status_code == 405

    ask(asking)


def test_before_the_first_plan_the_endpoint_says_that_it_waits(url, cage):
    async def asking() -> None:
        gateway = Gateway("support", url, cage.load, clock=lambda: datetime.now(UTC))
        transport = httpx.ASGITransport(app=build_endpoint(lambda: gateway))
        async with httpx.AsyncClient(transport=transport, base_url="http://endpoint") as client:
            health = await client.get("/healthz")
        assert (health.status_code, health.json()["status"]) == (503, "waiting")

    asyncio.run(asking())


def test_a_conversation_too_long_to_read_is_refused_and_no_failure_of_the_version(ask, url, monkeypatch):
    monkeypatch.setattr("agentgym.serving.engine._MOST_CHARACTERS", 100)

    async def asking(client, gateway):
        refused = await chat(client, words="x" * 101)
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "context_length_exceeded")

    ask(asking)
    assert not list(ExposureLog(url, "support").rows())


def test_feedback_is_recorded_once_and_corrected_only_when_it_says_so(ask):
    async def asking(client, gateway):
        await chat(client, conversation_id="c1")

        async def tell(**fields):
            answer = await client.post("/v1/feedback", json={"conversation_id": "c1", **fields})
            return answer.status_code, answer.json().get("recorded")

        assert await tell(outcome="resolved") == (200, True)
        assert await tell(outcome="resolved") == (200, False)
        assert await tell(outcome="unresolved") == (409, None)
        assert await tell(outcome="unresolved", corrects=True) == (200, True)

    ask(asking)


@pytest.mark.parametrize(
    ("fields", "status", "fact"),
    [
        ({"conversation_id": "c9", "outcome": "resolved"}, 404, "'c9' is none"),
        ({"conversation_id": "c1"}, 400, "it holds none"),
        ({"conversation_id": "c1", "outcome": "great"}, 400, "outcome"),
        ({"conversation_id": "c1", "score": 9}, 400, "score"),
        ({"outcome": "resolved"}, 400, "conversation_id"),
    ],
)
def test_feedback_that_cannot_be_kept_is_refused(ask, fields, status, fact):
    async def asking(client, gateway):
        await chat(client, conversation_id="c1")
        refused = await client.post("/v1/feedback", json=fields)
        assert refused.status_code == status
        assert fact in refused.json()["error"]["message"]

    ask(asking)


def test_a_served_conversation_is_a_trace_again(ask, url):
    async def asking(client, gateway):
        tools = [{"type": "function", "function": {"name": "look_up"}}]
        await chat(client, conversation_id="c1", user="ann", tools=tools, metadata={"queue": "billing"})
        await client.post("/v1/feedback", json={"conversation_id": "c1", "outcome": "resolved", "score": 4})

    ask(asking)
    (trace,) = served_traces(ExposureLog(url, "support"))
    assert [message.content for message in trace.messages] == ["Hello", "1: Hello"]
    assert (trace.customer_id, trace.agent_version, trace.outcome, trace.satisfaction_score) == ("ann", "1", "resolved", 4)
    assert (trace.tools[0].name, trace.tags) == ("look_up", {"queue": "billing"})
