"""What was served, read back: as observations for a test's analysis, and as traces for the next turn of the loop."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import orjson

from agentgym.ab_tests.ab_test import Observation
from agentgym.episode import Outcome
from agentgym.serving.exposure_log import ExposureLog
from agentgym.serving.traffic_log import TrafficLog
from agentgym.traces.trace import Trace


def observations_of(test_id: str, exposures: ExposureLog, traffic: TrafficLog) -> list[Observation]:
    """The conversations that this test's split has dealt, in the order they began, each with what is known of it by now."""
    weights = {logged.plan.epoch: dict(logged.plan.allocation.weights) for logged in traffic.plans() if logged.plan.test_id == test_id}
    return [_observation(row, weights[row.epoch]) for row in exposures.dealt_rows(sorted(weights))]


def served_traces(exposures: ExposureLog) -> Iterator[Trace]:
    """Every served conversation as a trace, in the order they began; unknown outcomes stay unknown.

    A last call is left out: its answer went to the client, who came back no more, and nobody knows it here.
    """
    return map(_trace, exposures.rows())


def _observation(row: Any, weights: dict[str, float]) -> Observation:
    return Observation(
        conversation_id=row.conversation_id,
        unit=row.unit,
        variant=row.variant,
        weights=weights,
        started_at=datetime.fromisoformat(row.started_at),
        requests=row.requests,
        failures=row.failures,
        outcome=Outcome(row.outcome) if row.outcome else None,
        outcome_at=datetime.fromisoformat(row.outcome_at) if row.outcome else None,
    )


def _trace(row: Any) -> Trace:
    return Trace.model_validate(
        {
            "conversation_id": row.conversation_id,
            "messages": _without_open_call(orjson.loads(row.transcript)),
            "tools": orjson.loads(row.declarations),
            "outcome": row.outcome,
            "satisfaction_score": row.score,
            "customer_id": row.customer_id,
            "agent_version": row.held_variant,
            "started_at": row.started_at,
            "ended_at": row.ended_at,
            "agent_tokens": row.agent_tokens,
            "latency_seconds": row.latency_seconds,
            "tags": orjson.loads(row.tags),
        }
    )


def _without_open_call(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return messages[:-1] if messages[-1].get("tool_calls") and len(messages) > 1 else messages
