"""A log that cannot be learned from stops the flow with one message, and leaves nothing registered."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from agentgym.errors import AgentGymError, InsufficientData, InvalidInput
from agentgym.settings import Settings
from agentgym.traces.source import TraceSource
from flows.improve_agent import improve_agent
from flows.rollback import rollback


def conversation(number: int, *, customer: str | None = None, calls: bool = True, max_length: int = 40) -> dict[str, Any]:
    call = {"role": "assistant", "tool_calls": [{"name": "lookup_user", "arguments": {"email": f"{number}@example.com"}}]}
    parameters = {"type": "object", "properties": {"email": {"type": "string", "maxLength": max_length}}}
    return {
        "conversation_id": f"c{number}",
        "customer_id": customer or f"customer {number}",
        "messages": [
            {"role": "user", "content": f"I cannot log in, I am {number}@example.com"},
            *([call, {"role": "tool", "name": "lookup_user", "result": {"user_id": number}}] if calls else []),
            {"role": "assistant", "content": "Done."},
        ],
        "tools": [{"name": "lookup_user", "parameters": parameters}],
    }


@pytest.fixture(autouse=True)
def workspace(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("AGENTGYM_WORKSPACE", str(settings.workspace))
    return settings


LOGS: dict[str, tuple[Sequence[Any], type[AgentGymError], str]] = {
    "an empty log": ([], InvalidInput, "empty"),
    "a log without a tool call": ([conversation(number, calls=False) for number in range(5)], InsufficientData, "tool"),
    "a single customer": ([conversation(number, customer="Ann") for number in range(5)], InsufficientData, "two customers"),
    "no line that can be read": (["{not json"] * 3, InvalidInput, "log.jsonl:1"),
    "a tool with two schemas": ([conversation(1), conversation(2, max_length=80)], InvalidInput, "lookup_user"),
}


@pytest.mark.parametrize("name", LOGS)
def test_a_log_nothing_can_be_learned_from_is_refused(name: str, tmp_path: Path, workspace: Settings) -> None:
    lines, error, fact = LOGS[name]
    log = tmp_path / "log.jsonl"
    log.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))
    with pytest.raises(error, match=fact):
        improve_agent(TraceSource(path=log))
    assert not (workspace.workspace / "mlflow.db").exists()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="nothing is at"):
        improve_agent(TraceSource(path=tmp_path / "absent.jsonl"))


def test_a_rollback_with_nothing_to_roll_back_to_is_refused() -> None:
    with pytest.raises(InvalidInput, match="champion before the present one"):
        rollback("There is nothing yet.")
