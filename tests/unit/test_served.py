"""What was served, read back as traces."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sql

from agentgym.errors import InvalidInput
from agentgym.messages import Message, ToolCall, assistant, user
from agentgym.serving.exposure_log import Exposure, ExposureLog, record
from agentgym.serving.plan import Assignment
from agentgym.serving.served import served_traces

LOOK_UP = assistant("", ToolCall(id="call_1", name="look_up"))


def keep(url: str, *messages: Message) -> ExposureLog:
    log = ExposureLog(url, "support")
    with log.engine.begin() as connection:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        exposure = Exposure(
            request_id="r1",
            asked="0" * 64,
            conversation_id="c1",
            agent="support",
            unit="ann",
            customer_id="ann",
            assignment=Assignment(variant="1", epoch=1),
            answered_by="1",
            is_dealt=True,
            at=datetime(2026, 1, 1, tzinfo=UTC),
            messages=messages,
            tools=(),
            tags={},
            agent_tokens=1,
            latency_seconds=0.1,
            body=b"{}",
        )
        record(connection, exposure)
    return log


def test_a_last_call_whose_answer_never_came_here_is_left_out(tmp_path: Path) -> None:
    """Clients run their tools themselves, so the answer to a last call is not known; a fifth of such logs once stopped the loop."""
    (trace,) = served_traces(keep(f"sqlite:///{tmp_path / 'experience.db'}", user("Where is it?"), LOOK_UP))
    assert [message.role for message in trace.messages] == ["user"]


def test_last_words_stay(tmp_path: Path) -> None:
    (trace,) = served_traces(keep(f"sqlite:///{tmp_path / 'experience.db'}", user("Where is it?"), assistant("On its way.")))
    assert [message.content for message in trace.messages] == ["Where is it?", "On its way."]


def test_a_database_of_another_version_is_refused_by_the_column_it_lacks(tmp_path: Path) -> None:
    """An endpoint on one once started as always and answered nothing."""
    url = f"sqlite:///{tmp_path / 'experience.db'}"
    log = keep(url, user("Hi"), assistant("Hello"))
    with log.engine.connect() as connection:
        connection.execute(sql.text("ALTER TABLE agentgym_answers DROP COLUMN asked"))
    with pytest.raises(InvalidInput, match="the table agentgym_answers has no asked"):
        ExposureLog(url, "support")
